"""What the settings and tensors of an adapter in PEFT's layout mean to an engine: findings, by its rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vertebra._lora.engines.modules import is_named, is_targeted, rank_of
from vertebra._lora.engines.table import Engine
from vertebra._lora.files.peft_names import PREFIX
from vertebra._weights.tensor_entry import TensorEntry

_MATRIX = re.compile(r"(?P<module>.+)\.lora_(?:[A-Z]\.(?:weight|bias)|embedding_[AB]|magnitude_vector)")
_FIRST_IS_RANK = (".lora_A.weight", ".lora_embedding_A")
_OFF = (None, False, "", 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of an adapter that an engine does not use as PEFT does."""

    effect: str
    """`refused`, `ignored` or `changed`."""
    field: str | None
    """The field of the config, or None for tensors."""
    value: Any
    tensors: tuple[str, ...]
    """The names of the tensors; empty for a field."""
    reason: str
    source: str
    """File and function of the engine's release in which the rule was read."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter in PEFT's layout, as its config and the header of its tensors describe it."""

    config: Mapping[str, Any]
    tensors: Mapping[str, TensorEntry]

    def modules(self) -> dict[str, list[str]]:
        """Returns the tensors of each adapted module, by the module's name without PEFT's prefix."""
        found: dict[str, list[str]] = {}
        for name in self.tensors:
            if match := _MATRIX.fullmatch(name):
                found.setdefault(match["module"].removeprefix(PREFIX), []).append(name)
        return found


# === Settings ===


def of_settings(engine: Engine, adapter: Adapter, max_rank: int | None) -> Iterator[Finding]:
    """Yields the findings about the fields of the config."""
    for rule in engine.rules["settings"]:
        value = adapter.config.get(rule["field"])
        if not _is_accepted(rule, value):
            yield Finding(rule["effect"], rule["field"], value, (), rule["says"], rule["source"])
    rule = engine.rules.get("rank")
    if rule is not None:
        largest = max_rank or rule["largest"]
        patterns = adapter.config.get("rank_pattern")
        ranks = [adapter.config.get("r"), *(patterns.values() if isinstance(patterns, Mapping) else ())]
        highest = max((rank for rank in ranks if isinstance(rank, int)), default=0)
        if highest > largest:
            reason = f"the rank is {highest}, and the server accepts {largest}: start it with {rule['option']}"
            yield Finding("refused", "r", highest, (), reason, rule["source"])


def _is_accepted(rule: Mapping[str, Any], value: Any) -> bool:
    if value in _OFF or value in ([], {}):
        return not rule.get("required")
    if "items" in rule:
        return isinstance(value, list) and all(item in rule["items"] for item in value)
    if "texts" in rule:
        return not isinstance(value, str) or value in rule["texts"]
    plain = value.lower() if isinstance(value, str) else value
    return bool(rule.get("required")) or plain in rule.get("accepts", ())


# === Tensors ===


def of_tensors(engine: Engine, adapter: Adapter) -> Iterator[Finding]:
    """Yields the findings about tensors, one for each rule that some match; the first rule that matches decides."""
    found: dict[int, list[str]] = {}
    for name in adapter.tensors:
        for number, rule in enumerate(engine.rules["tensors"]):
            if re.fullmatch(rule["pattern"], name) and not _is_excepted(rule, adapter, name):
                found.setdefault(number, []).append(name)
                break
    for number, names in sorted(found.items()):
        rule = engine.rules["tensors"][number]
        if rule["effect"] != "used":
            yield _of_names(rule, names)
    yield from _of_ranks(engine, adapter)
    yield from _of_missing_partners(engine, adapter)


def _is_excepted(rule: Mapping[str, Any], adapter: Adapter, name: str) -> bool:
    """Returns whether the condition under which a rule does not apply holds: that of a name, or a field that is on."""
    condition = rule.get("unless")
    if not condition:
        return False
    if condition in _CONDITIONS:
        return _CONDITIONS[condition](adapter.config, name)
    return adapter.config.get(condition) not in (*_OFF, [], {})


def _targeted(config: Mapping[str, Any], name: str) -> bool:
    match = _MATRIX.fullmatch(name)
    return match is None or is_targeted(config, match["module"].removeprefix(PREFIX))


def _named(config: Mapping[str, Any], name: str) -> bool:
    module = "embed_tokens" if "embed_tokens" in name and "unembed" not in name else "lm_head"
    return is_named(config.get("target_modules"), module)


def _saved(config: Mapping[str, Any], name: str) -> bool:
    saved = config.get("modules_to_save")
    return isinstance(saved, list) and name.split(".")[-2] in saved


_CONDITIONS: Mapping[str, Callable[[Mapping[str, Any], str], bool]] = {
    "targeted": _targeted,
    "named": _named,
    "saved": _saved,
}


def _of_ranks(engine: Engine, adapter: Adapter) -> Iterator[Finding]:
    rule = engine.rules.get("ranks")
    if rule is None:
        return
    names = [
        name
        for module, own in adapter.modules().items()
        for name in own
        if name.endswith(_FIRST_IS_RANK)
        and (rank := rank_of(adapter.config, module)) is not None
        and adapter.tensors[name].shape[:1] != (rank,)
    ]
    if names:
        yield _of_names(rule, names)


def _of_missing_partners(engine: Engine, adapter: Adapter) -> Iterator[Finding]:
    """Yields a finding for modules that an engine fuses with others, if those have no adapter."""
    modules = adapter.modules()
    for rule in engine.rules["together"]:
        alone = [
            tensor
            for module, own in modules.items()
            if module.endswith(f".{rule['module']}")
            and f"{module.removesuffix(rule['module'])}{rule['needs']}" not in modules
            for tensor in own
        ]
        if alone:
            yield _of_names(rule, alone)


# === The base ===


def of_base(engine: Engine, adapter: Adapter, model_type: str, tensors: Sequence[str]) -> Iterator[Finding]:
    """Yields the findings about the base model.

    Args:
        engine: The engine.
        adapter: The adapter.
        model_type: The model type of the base.
        tensors: The names of the base's tensors, as transformers writes them.
    """
    for rule in engine.rules["architectures"]:
        if model_type in rule["model_types"]:
            names = [name for name in adapter.tensors if re.fullmatch(rule.get("pattern", ".*"), name)]
            if names:
                yield _of_names(rule, names, f"in the architecture {model_type}, {rule['says']}")
    known = {part for name in tensors for part in _suffixes(name.rpartition(".")[0])}
    missing = [
        name for module, own in adapter.modules().items() for name in own if known.isdisjoint(_suffixes(module)[:2])
    ]
    if missing:
        yield _of_names(engine.rules["missing"], missing, "the base model has no such module")


def _suffixes(module: str) -> list[str]:
    """Returns a module's name, and without the first names, which are those of models that contain the base."""
    parts = module.split(".")
    return [".".join(parts[start:]) for start in range(min(3, len(parts)))]


def _of_names(rule: Mapping[str, Any], names: Sequence[str], reason: str = "") -> Finding:
    return Finding(rule["effect"], None, None, tuple(names), reason or rule["says"], rule["source"])
