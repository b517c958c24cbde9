"""PEFT's `adapter_config.json`: a closed schema; nothing in it is imported or resolved."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.files.peft_patterns import PatternTable
from vertebra._lora.files.peft_types import lora_fields, reader_of, readers, where_computed
from vertebra._lora.plan import LayerPlan
from vertebra._system.strict_json import MOST_BYTES, parse_json
from vertebra.errors import LoraConfigError
from vertebra.specs import LoraConfig

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"

# Fields that affect the computation and are supported.
SWITCHES = ("use_dora", "use_rslora")
_HONOURED = {
    "peft_type", "r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern", "init_lora_weights", *SWITCHES,
}  # fmt: skip
# Initialisations that leave the base weights unchanged, and those that change them, by name.
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
_MUTATING_STARTS = {
    "pissa": "PiSSA", "olora": "OLoRA", "corda": "CorDA", "lora_ga": "LoRA-GA", "loftq": "LoftQ",
}  # fmt: skip
_CONVERTIBLE = ("PiSSA", "OLoRA", "CorDA", "LoRA-GA")
# Fields that only describe, or only matter for further training with PEFT: the tensors show which modules are adapted
# and which weights are trained. `auto_mapping` and `megatron_core` name modules that PEFT would import; here they are
# only text. Settings of an initialisation matter only if `init_lora_weights` names it.
_DESCRIPTIVE = {
    "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying", "eva_config",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "layers_pattern", "layers_to_transform", "loftq_config",
    "lora_ga_config", "megatron_core", "modules_to_save", "peft_version", "qalora_group_size", "revision",
    "runtime_config", "target_modules", "task_type",
}  # fmt: skip
# Fields that change the computation in unsupported ways, with PEFT's name of the method.
_UNSUPPORTED = {
    "alora_invocation_tokens": "activated LoRA (aLoRA)",
    "arrow_config": "Arrow routing",
    "enable_lora": "LoRA on some slices of a fused projection, of PEFT before 0.4,",
    "kasa_config": "KaSA",
    "layer_replication": "layer replication",
    "lora_bias": "LoRA with a bias",
    "megatron_config": "LoRA on the parallel layers of Megatron",
    "monteclora_config": "MonteCLoRA",
    "target_parameters": "LoRA on parameters that are not a layer's kernel",
    "trainable_token_indices": "training of single tokens",
    "use_bdlora": "BD-LoRA",
    "use_qalora": "QALoRA",
    "velora_config": "VeLoRA",
}
_UNMERGEABLE = ("alora_invocation_tokens", "arrow_config", "use_qalora")
_MERGE = "Merge the adapter into its base with PEFT (merge_and_unload, then save_pretrained), and load that checkpoint"
_RETRAIN = "PEFT cannot merge it into its base either: run it with PEFT, or train an adapter without it"
_CONVERT = "Save it with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...)"
_UPDATE = f"If the field only describes, remove it from {CONFIG}. Otherwise: {_MERGE}"


@dataclass(frozen=True, slots=True)
class PeftSettings:
    """The settings of a config that affect the computation."""

    config: LoraConfig
    ranks: PatternTable
    alphas: PatternTable
    added: Mapping[str, Any]
    """The values of the fields that add layers adapted by another method."""

    def layer(self, module: str) -> LayerPlan:
        """Returns the plan of the layers that form a module.

        Raises:
            LoraConfigError: a pattern cannot be matched with the name of the module.
        """
        alpha = self.config.rank if self.config.alpha is None else self.config.alpha
        return LayerPlan(self.ranks.get(module, self.config.rank), float(self.alphas.get(module, alpha)))


def read_config(folder: Path) -> PeftSettings:
    """Reads the config in a folder.

    Raises:
        LoraConfigError: a setting is missing, out of range or unknown.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise LoraConfigError(path, "file", None, f"PEFT's {CONFIG} next to {TENSORS}")
    expected = "a JSON object that PEFT wrote"
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise LoraConfigError(path, "size", size, f"at most {MOST_BYTES} bytes")
    return _settings_of(
        path, parse_json(path.read_bytes(), lambda problem: LoraConfigError(path, "file", problem, expected))
    )


def _settings_of(path: Path, config: Mapping[str, Any]) -> PeftSettings:
    reader = reader_of(config.get("peft_type"))
    if reader is not None:
        _check_fields(path, config, reader.fields())
        return PeftSettings(*reader.settings(path, config), added={})
    _check_method(path, config)
    added = {name: config[name] for name in lora_fields() if not _is_off(config.get(name))}
    _check_fields(path, config, _HONOURED | added.keys())
    _check_start(path, config.get("init_lora_weights"))
    ranks, alphas = (PatternTable(path, name, config.get(name)) for name in ("rank_pattern", "alpha_pattern"))
    settings = LoraConfig(
        rank=config.get("r", 8),
        alpha=config.get("lora_alpha", 8),
        dropout=config.get("lora_dropout", 0.0),
        strategy=_strategy_of(path, {field: True for field in SWITCHES if config.get(field)}),
    )
    LoraConfig(1, rank_pattern=ranks.values, alpha_pattern=alphas.values)  # the same limits
    return PeftSettings(settings, ranks, alphas, added)


def _check_method(path: Path, config: Mapping[str, Any]) -> None:
    method = config.get("peft_type")
    if method == "LORA":
        return
    known = ", ".join(["LORA", *(reader.method.name for reader in readers())])
    expected = f"one of {known}: {method} is not computed here" if isinstance(method, str) else f"one of {known}"
    remedy = f"{_MERGE}, if PEFT can merge it" if isinstance(method, str) else "Pass a folder that PEFT wrote"
    remedy = where_computed(str(method)) or remedy
    raise LoraConfigError(path, "peft_type", method, expected, remedy)


def _check_fields(path: Path, config: Mapping[str, Any], honoured: Set[str]) -> None:
    """Raises LoraConfigError for unsupported fields that are on; a field that is off has no effect, even if unknown."""
    for field, value in config.items():
        if field in SWITCHES and not isinstance(value, bool | None):
            raise LoraConfigError(path, field, value, "true or false")
        if field in honoured | _DESCRIPTIVE or _is_off(value):
            continue
        if field not in _UNSUPPORTED:
            expected = "it to be off: the field is unknown, and may change what the adapter computes"
            raise LoraConfigError(path, field, value, expected, _UPDATE)
        if value != 0:
            expected = f"it to be off: {_UNSUPPORTED[field]} is not computed here"
            remedy = where_computed(field) or (_RETRAIN if field in _UNMERGEABLE else _MERGE)
            raise LoraConfigError(path, field, value, expected, remedy)


def _is_off(value: Any) -> bool:
    return value is None or value is False or value in ("", "none", [], {})


def _check_start(path: Path, start: Any) -> None:
    plain = start.lower() if isinstance(start, str) else start
    if plain in _STARTS:
        return
    name = next((name for prefix, name in _MUTATING_STARTS.items() if str(plain).startswith(prefix)), None)
    problem = f"{name} changes them, so the adapter alone is incomplete" if name else "this one is unknown"
    expected = f"an initialisation that leaves the base weights unchanged: {problem}"
    remedy = f"{_CONVERT}. Or: {_MERGE}" if name in _CONVERTIBLE else _MERGE
    raise LoraConfigError(path, "init_lora_weights", start, expected, remedy)


def _strategy_of(path: Path, switches: Mapping[str, bool]) -> str:
    for entry in catalog(STRATEGIES):
        if entry.value.peft_fields == switches:
            return entry.name
    names = " and ".join(switches) or "plain LoRA"
    remedy = f"Install a plugin with such a strategy, such as vertebra-lora-variants. Or: {_MERGE}"
    raise LoraConfigError(path, names, True, "a variant that an installed LoRA strategy supports", remedy)
