"""Which modules PEFT adapts by a config, and with which rank, as `check_target_module_exists` of PEFT 0.21 decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra._lora.files.peft_patterns import PatternTable
from vertebra.errors import LoraConfigError
from vertebra.file_names import ADAPTER_CONFIG

_ALL_LINEAR = "all-linear"


def is_targeted(config: Mapping[str, Any], module: str) -> bool:
    """Returns whether `target_modules` matches the name of a module, and `exclude_modules` does not.

    A regular expression that cannot be matched in linear time is taken to match.
    """
    excluded = config.get("exclude_modules")
    if excluded and is_named(excluded, module):
        return False
    targets = config.get("target_modules")
    return targets is None or is_named(targets, module)


def is_named(names: Any, module: str) -> bool:
    """Returns whether one of a list of names is that of a module or its end, or an expression matches all of it."""
    if isinstance(names, str):
        return names in ("all", _ALL_LINEAR) or _matches(names, module)
    if not isinstance(names, list):
        return False
    return any(isinstance(name, str) and (module == name or module.endswith(f".{name}")) for name in names)


def _matches(expression: str, module: str) -> bool:
    try:
        # A pattern with a leading ^ is PEFT's spelling of one for whole names.
        return bool(PatternTable(ADAPTER_CONFIG, "target_modules", {f"^(?:{expression})": True}).get(module, False))
    except LoraConfigError:
        return True


def rank_of(config: Mapping[str, Any], module: str) -> int | None:
    """Returns the rank of a module; None if the config has none, or patterns that cannot be matched."""
    rank = config.get("r")
    if not isinstance(rank, int):
        return None
    try:
        found = PatternTable(ADAPTER_CONFIG, "rank_pattern", config.get("rank_pattern")).get(module, rank)
    except LoraConfigError:
        return None
    return found if isinstance(found, int) else None
