"""PEFT's `adapter_config.json`: a closed schema; nothing in it is imported or resolved."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vertebra._discovery.catalog import lora_variant, peft_methods
from vertebra._lora.files.peft_methods import FIELDS, MERGE, field_remedy, type_remedy
from vertebra._lora.files.peft_patterns import PatternTable
from vertebra._lora.files.peft_types import lora_fields, number, plugin_with_more, reader_of, readers, where_computed
from vertebra._lora.plan import LayerPlan
from vertebra._system.foreign_json import parse_foreign_json
from vertebra._system.regular_files import problem_of, read_limited
from vertebra._system.strict_json import MOST_BYTES
from vertebra.errors import LoraConfigError
from vertebra.file_names import ADAPTER_CONFIG
from vertebra.specs import LoraConfig

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
_CONVERT = "Save it with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...)"
_UPDATE = f"If the field only describes, remove it from {ADAPTER_CONFIG}. Otherwise: {MERGE}"


@dataclass(frozen=True, slots=True)
class PeftSettings:
    """The settings of a config that affect the computation."""

    config: LoraConfig
    ranks: PatternTable
    alphas: PatternTable
    fully_trained: tuple[str, ...]
    """The names of fully trained modules, or the ends of their names; PEFT's `modules_to_save`."""
    base_model: str | None
    """The base that PEFT loaded, such as `org/name@revision`."""
    added: Mapping[str, Any]
    """The values of the fields that add layers adapted by another method."""
    task: object = None
    """The task of the model that PEFT trained, such as `SEQ_CLS`."""
    doubts: str = ""
    """The values that are not clear, such as NaN, in fields that are not used."""

    @property
    def dropped_inputs(self) -> tuple[str, ...]:
        """transformers' names of inputs that PEFT's model of this task accepts, and does not pass to its base."""
        return ("token_type_ids",) if self.task == "QUESTION_ANS" else ()

    def layer(self, module: str) -> LayerPlan:
        """Returns the plan of the layers that form a module.

        Raises:
            LoraConfigError: a pattern cannot be matched with the name of the module.
        """
        alpha = self.config.rank if self.config.alpha is None else self.config.alpha
        return LayerPlan(self.ranks.get(module, self.config.rank), float(self.alphas.get(module, alpha)))


def read_config(subject: str, path: Path) -> PeftSettings:
    """Reads a config.

    Args:
        subject: The path or handle of the file, for messages.
        path: Its local path.

    Raises:
        LoraConfigError: a setting is missing, out of range or unknown.
    """

    def failure(problem: str) -> LoraConfigError:
        return LoraConfigError(subject, "file", problem, "a JSON object that PEFT wrote")

    try:
        document = parse_foreign_json(read_limited(path, MOST_BYTES), failure)
    except OSError as error:
        raise failure(problem_of(error)) from error
    return replace(document.read(partial(_settings_of, subject), _meaning), doubts=document.doubts_text)


def _meaning(settings: PeftSettings) -> tuple[object, ...]:
    """Returns the values of the settings, with patterns in the order in which they are tried."""
    patterns = (tuple(table.values.items()) for table in (settings.ranks, settings.alphas))
    return settings.config, settings.added, settings.fully_trained, *patterns


def _settings_of(subject: str, config: Mapping[str, Any]) -> PeftSettings:
    """Returns the settings of a config; an error in any value names the file."""
    try:
        return replace(_read_settings(subject, config), task=config.get("task_type"))
    except LoraConfigError as error:
        if error.subject == subject:
            raise
        raise LoraConfigError(subject, error.field, error.value, error.expected) from error


def _read_settings(subject: str, config: Mapping[str, Any]) -> PeftSettings:
    reader = reader_of(config.get("peft_type"))
    if reader is not None:
        _check_fields(subject, config, reader.fields())
        return PeftSettings(*reader.settings(subject, config), _fully_trained(config), _base_model(config), added={})
    _check_method(subject, config)
    added = {name: config[name] for name in lora_fields() if not _is_off(config.get(name))}
    _check_fields(subject, config, _HONOURED | added.keys())
    _check_start(subject, config.get("init_lora_weights"))
    ranks, alphas = (PatternTable(subject, name, config.get(name)) for name in ("rank_pattern", "alpha_pattern"))
    settings = LoraConfig(
        rank=number(subject, config, "r"),
        alpha=number(subject, config, "lora_alpha"),
        dropout=config.get("lora_dropout", 0.0),
        strategy=_strategy_of(subject, {field: True for field in SWITCHES if config.get(field)}),
    )
    LoraConfig(1, rank_pattern=ranks.values, alpha_pattern=alphas.values)  # the same limits
    return PeftSettings(settings, ranks, alphas, _fully_trained(config), _base_model(config), added)


def _fully_trained(config: Mapping[str, Any]) -> tuple[str, ...]:
    names = config.get("modules_to_save")
    names = [names] if isinstance(names, str) else names
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def _base_model(config: Mapping[str, Any]) -> str | None:
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(name, str) or not name:
        return None
    return f"{name}@{revision}" if isinstance(revision, str) and revision else name


def _check_method(subject: str, config: Mapping[str, Any]) -> None:
    method = config.get("peft_type")
    if method == "LORA":
        return
    known = ", ".join(["LORA", *(reader.method.name for reader in readers())])
    if not isinstance(method, str):
        given = method if "peft_type" in config else ...
        raise LoraConfigError(subject, "peft_type", given, f"one of {known}", "Pass a folder that PEFT wrote")
    remedy = where_computed(method) or type_remedy(method)
    raise LoraConfigError(subject, "peft_type", method, f"one of {known}: {method} is not computed here", remedy)


def _check_fields(subject: str, config: Mapping[str, Any], honoured: Set[str]) -> None:
    """Raises LoraConfigError for unsupported fields that are on; a field that is off has no effect, even if unknown."""
    for field, value in config.items():
        if field in SWITCHES and not isinstance(value, bool | None):
            raise LoraConfigError(subject, field, value, "true or false")
        if field in honoured | _DESCRIPTIVE or _is_off(value):
            continue
        if field not in FIELDS:
            method = config.get("peft_type")
            expected = f"it to be off: with peft_type {method!r} the field is unknown, and may change the computation"
            raise LoraConfigError(subject, field, value, expected, _UPDATE)
        if value != 0:
            expected = f"it to be off: {FIELDS[field]} is not computed here"
            raise LoraConfigError(subject, field, value, expected, where_computed(field) or field_remedy(field))


def _is_off(value: Any) -> bool:
    return value is None or value is False or value in ("", "none", [], {})


def _check_start(subject: str, start: Any) -> None:
    plain = start.lower() if isinstance(start, str) else start
    if plain in _STARTS:
        return
    name = next((name for prefix, name in _MUTATING_STARTS.items() if str(plain).startswith(prefix)), None)
    problem = f"{name} changes them, so the adapter alone is incomplete" if name else "this one is unknown"
    expected = f"an initialisation that leaves the base weights unchanged: {problem}"
    remedy = f"{_CONVERT}. Or: {MERGE}" if name in _CONVERTIBLE else MERGE
    raise LoraConfigError(subject, "init_lora_weights", start, expected, remedy)


def _strategy_of(subject: str, switches: Mapping[str, bool]) -> str:
    """Returns the name of the strategy that computes the variant of LoRA with these switches.

    Raises:
        LoraConfigError: no installed strategy computes it.
        NameClashError: strategies of several plugins compute it, and the settings prefer none.
    """
    names = lora_variant(switches)
    if names in peft_methods():
        return peft_methods().lookup(names).value.name
    remedy = f"Install a plugin with such a strategy, {plugin_with_more()}. Or: {MERGE}"
    raise LoraConfigError(subject, names, True, "a variant that an installed LoRA strategy supports", remedy)
