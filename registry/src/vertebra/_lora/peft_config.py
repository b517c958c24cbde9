"""PEFT's `adapter_config.json`: a closed schema; nothing in it is imported, resolved or used as a pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._catalog import STRATEGIES, catalog
from vertebra._documents import MOST_BYTES, parse_json
from vertebra._lora.plan import LayerPlan
from vertebra.errors import LoraConfigError
from vertebra.specs import LoraConfig

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"

# Other ways to start change the base weights, too, so that the adapter alone is not what was trained.
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
# What decides the mathematics and is honoured.
SWITCHES = ("use_dora", "use_rslora")
_HONOURED = {"peft_type", "r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern", *SWITCHES}
# What only describes, or only matters to whoever trains further with PEFT: which weights trained is seen in the
# tensors. `auto_mapping` and `megatron_core` name modules that PEFT would import: here they are text.
_DESCRIPTIVE = {
    "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "megatron_core", "modules_to_save",
    "peft_version", "qalora_group_size", "revision", "runtime_config", "target_modules", "task_type",
}  # fmt: skip
# What would change the mathematics in a way that is not computed here; accepted only where it is switched off.
_MUST_BE_OFF = {
    "alora_invocation_tokens", "arrow_config", "corda_config", "eva_config", "kasa_config", "layer_replication",
    "loftq_config", "lora_bias", "lora_ga_config", "megatron_config", "monteclora_config", "target_parameters",
    "trainable_token_indices", "use_bdlora", "use_qalora", "velora_config",
}  # fmt: skip
_OFF: tuple[Any, ...] = (None, False, "none", {}, [])
_LITERAL = re.compile(r"\^?[\w.\-]{1,1000}")
"""Names of modules, as opposed to patterns; PEFT documents a leading `^` for names in full."""


@dataclass(frozen=True, slots=True)
class PeftSettings:
    """What a config says of the mathematics."""

    config: LoraConfig
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]

    def layer(self, module: str) -> LayerPlan:
        """Returns the plan of the layers that are one module there."""
        rank = _pattern(self.ranks, module, self.config.rank)
        alpha = _pattern(self.alphas, module, self.config.rank if self.config.alpha is None else self.config.alpha)
        return LayerPlan(rank, float(alpha))


def read_config(folder: Path) -> PeftSettings:
    """Reads the config in a folder.

    Raises:
        LoraConfigError: a setting is missing, out of range or unknown.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise LoraConfigError(path, "file", None, f"PEFT's {CONFIG} beside {TENSORS}")
    expected = "a JSON object that PEFT wrote"
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise LoraConfigError(path, "size", size, f"at most {MOST_BYTES} bytes")
    return _settings_of(
        path, parse_json(path.read_bytes(), lambda problem: LoraConfigError(path, "file", problem, expected))
    )


def _settings_of(path: Path, config: Mapping[str, Any]) -> PeftSettings:
    if config.get("peft_type") != "LORA":
        raise LoraConfigError(path, "peft_type", config.get("peft_type"), "'LORA'")
    for field, value in config.items():
        if field in _MUST_BE_OFF and value not in _OFF:
            raise LoraConfigError(path, field, value, "it to be off: this variant is not computed here")
        if field not in _HONOURED | _DESCRIPTIVE | _MUST_BE_OFF:
            raise LoraConfigError(path, field, value, "a field of PEFT's LoRA configuration")
        if field in SWITCHES and not isinstance(value, bool | None):
            raise LoraConfigError(path, field, value, "true or false")
    start = config.get("init_lora_weights")
    if start not in _STARTS:
        raise LoraConfigError(path, "init_lora_weights", start, "a start that leaves the base weights as they are")
    _check_targets(path, config.get("target_modules"))
    ranks, alphas = (_check_patterns(path, name, config.get(name)) for name in ("rank_pattern", "alpha_pattern"))
    settings = LoraConfig(
        rank=config.get("r", 8),
        alpha=config.get("lora_alpha", 8),
        dropout=config.get("lora_dropout", 0.0),
        strategy=_strategy_of(path, {field: True for field in SWITCHES if config.get(field)}),
    )
    LoraConfig(1, rank_pattern=ranks, alpha_pattern=alphas)  # the same limits
    return PeftSettings(settings, ranks, alphas)


def _strategy_of(path: Path, switches: Mapping[str, bool]) -> str:
    for entry in catalog(STRATEGIES):
        if entry.value.peft_fields == switches:
            return entry.name
    names = " and ".join(switches) or "plain LoRA"
    expected = "a variant that an installed LoRA strategy computes: install its plugin, such as vertebra-lora-variants"
    raise LoraConfigError(path, names, True, expected)


def _check_targets(path: Path, targets: Any) -> None:
    listed = [targets] if isinstance(targets, str) else targets
    plain = isinstance(listed, list) and all(isinstance(name, str) and _LITERAL.fullmatch(name) for name in listed)
    if not plain and targets is not None:
        raise LoraConfigError(path, "target_modules", targets, "a list of module names; patterns are not evaluated")


def _check_patterns(path: Path, field: str, table: Any) -> dict[str, Any]:
    for name in table if isinstance(table, Mapping) else [table] if table else []:
        if not isinstance(name, str) or not _LITERAL.fullmatch(name) or not isinstance(table, Mapping):
            raise LoraConfigError(path, field, name, "names of modules; patterns are not evaluated")
    return dict(table or {})


def _pattern(table: Mapping[str, Any], module: str, default: Any) -> Any:
    """PEFT takes the first name that is the module's, in full or from a dot on."""
    for name, value in table.items():
        plain = name.removeprefix("^")
        if module == plain or (module.endswith(f".{plain}") and not name.startswith("^")):
            return value
    return default
