"""PEFT's `adapter_config.json`: a closed schema; nothing in it is imported, resolved or used as a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra._catalog import STRATEGIES, catalog
from vertebra._lora.attach import Attached
from vertebra._lora.naming import AdapterNames
from vertebra._weights.naming import layer_paths, own_weights
from vertebra.errors import LoraConfigError
from vertebra.specs import LoraConfig

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"

# Other ways to start change the base weights, too, so that the adapter alone is not what was trained.
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
# What decides the mathematics and is honoured.
_SWITCHES = ("use_dora", "use_rslora")
_HONOURED = {"peft_type", "r", "lora_alpha", "lora_dropout", *_SWITCHES}
# What only describes, or only matters to whoever trains further with PEFT. `auto_mapping` and `megatron_core` name
# modules that PEFT would import: here they are text.
_DESCRIPTIVE = {
    "auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "megatron_core", "modules_to_save",
    "peft_version", "qalora_group_size", "revision", "runtime_config", "target_modules", "task_type",
}  # fmt: skip
# What would change the mathematics in a way that is not computed here; accepted only where it is switched off.
_MUST_BE_OFF = {
    "alora_invocation_tokens", "alpha_pattern", "arrow_config", "bias", "corda_config", "eva_config", "kasa_config",
    "layer_replication", "loftq_config", "lora_bias", "lora_ga_config", "megatron_config", "monteclora_config",
    "rank_pattern", "target_parameters", "trainable_token_indices", "use_bdlora", "use_qalora", "velora_config",
}  # fmt: skip
_OFF: tuple[Any, ...] = (None, False, "none", {}, [])


def config_from_peft(path: Path, config: Mapping[str, Any] | None) -> LoraConfig:
    """Returns the settings that a PEFT config means.

    Raises:
        LoraConfigError: a field is missing, out of range, unknown, or asks for what cannot be computed here.
    """
    if config is None:
        raise LoraConfigError(path, "file", None, f"PEFT's {CONFIG} beside {TENSORS}")
    if config.get("peft_type") != "LORA":
        raise LoraConfigError(path, "peft_type", config.get("peft_type"), "'LORA'")
    for field, value in config.items():
        if field in _MUST_BE_OFF and value not in _OFF:
            raise LoraConfigError(path, field, value, "it to be off: this variant is not computed here")
        if field not in _HONOURED | _DESCRIPTIVE | _MUST_BE_OFF:
            raise LoraConfigError(path, field, value, "a field of PEFT's LoRA configuration")
    start = config.get("init_lora_weights")
    if start not in _STARTS:
        raise LoraConfigError(path, "init_lora_weights", start, "a start that leaves the base weights as they are")
    _check_targets(path, config.get("target_modules"))
    return LoraConfig(
        rank=config.get("r", 8),
        alpha=config.get("lora_alpha", 8),
        dropout=config.get("lora_dropout", 0.0),
        strategy=_strategy_of(path, {field: True for field in _SWITCHES if config.get(field)}),
    )


def config_to_peft(backbone: Any, attached: Attached, names: AdapterNames) -> dict[str, Any]:
    """Returns the PEFT config of an adapter; modules are named in full, so that they mean no others."""
    config = attached.config
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": backbone._preset,
        "r": config.rank,
        "lora_alpha": config.rank if config.alpha is None else config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": sorted(names.module(path) for path in attached.adapters),
        "modules_to_save": _fully_trained(backbone, names) or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "task_type": None,
        **dict.fromkeys(_SWITCHES, False),
        **_fields_of(config.strategy),
    }


def _strategy_of(path: Path, switches: Mapping[str, bool]) -> str:
    for entry in catalog(STRATEGIES):
        if entry.value.peft_fields == switches:
            return entry.name
    names = " and ".join(switches) or "plain LoRA"
    raise LoraConfigError(path, names, True, "a variant that an installed LoRA strategy computes: install its plugin")


def _fields_of(strategy: str) -> Mapping[str, bool]:
    fields: Mapping[str, bool] | None = catalog(STRATEGIES).lookup(strategy).value.peft_fields
    if fields is None:
        expected = "one that PEFT has; name a .safetensors file to save this one"
        raise LoraConfigError("PEFT folder", "strategy", strategy, expected)
    return fields


def _check_targets(path: Path, targets: Any) -> None:
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise LoraConfigError(path, "target_modules", targets, "a list of module names; patterns are not evaluated")


def _fully_trained(backbone: Any, names: AdapterNames) -> list[str]:
    modules = []
    for path, layer in layer_paths(backbone).items():
        weights = own_weights(layer)
        if weights and all(variable.trainable for variable in weights) and not path.endswith("/lora"):
            modules.append(names.rule(f"{path}/{weights[0].name}").tensor.rpartition(".")[0])
    return sorted(modules)
