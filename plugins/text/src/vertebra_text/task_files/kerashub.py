"""Reads tasks of KerasHub presets: `task.json`, and the variables of the head in `task.weights.h5`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vertebra import HeadSpec, TaskPreset, TensorRule, tasks
from vertebra.errors import PresetConfigError
from vertebra_text.task_files.stored import StoredTask, truncation_of

CONFIG, WEIGHTS = "task.json", "task.weights.h5"
OWN = "vertebra"
"""A field of `task.json` next to Keras's own, which Keras ignores: the arguments that KerasHub's class lacks."""
ARGUMENTS = ("num_classes", "activation", "dropout", "pooling_mode", "normalize")
"""Arguments with the same names and meanings here."""
ROUND_ROBIN = "round_robin"
"""KerasHub's name of `longest_first`."""
_MASKED_LM = "layers/masked_lm_head"
_EPSILON, _ACTIVATION = 1e-5, "gelu"
"""KerasHub's head for masked language models has these for all architectures (0.32, MaskedLMHead)."""


def recognises(preset: TaskPreset) -> bool:
    """Returns whether a preset is KerasHub's."""
    return preset.format == "kerashub"


def read(task_class: Any, preset: TaskPreset, own: Mapping[str, Any]) -> StoredTask:
    """Returns the task of a preset, or an empty one if the preset has none of this class.

    Raises:
        PresetConfigError: `task.json` is invalid.
    """
    if CONFIG not in preset.files.names:
        return _without_task(task_class, preset)
    document = preset.files.json(CONFIG).value
    name, config = document.get("class_name"), document.get("config")
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise PresetConfigError(CONFIG, "it has no class_name and config, expected the config of a Keras object")
    if not name.endswith(task_in_kerashub(task_class)):
        notes = [f"it has a head of {name}, which is not used"]
        return replace(_without_task(task_class, preset), notes=notes)
    preprocessor = _preprocessor(config)
    notes, own_fields = _notes(preprocessor), _own_fields(document)
    truncation = truncation_of(CONFIG, own_fields)
    arguments = _own_arguments(task_class, own_fields)
    known = task_class._own_arguments()
    arguments |= {argument: config[argument] for argument in ARGUMENTS if argument in config and argument in known}
    if "pooling_mode" in arguments:
        return StoredTask(arguments, truncation=truncation, notes=notes, file=CONFIG)
    arguments.setdefault("head", _checked_head(task_class, preset, config).to_config())
    if "mask_selection_rate" in preprocessor and task_class.head_task == "MaskedLM":
        arguments["mask_selection_rate"] = preprocessor["mask_selection_rate"]
    if "num_classes" in own or "labels" in own:
        arguments = {name: value for name, value in arguments.items() if name not in ("num_classes", "labels")}
    elif isinstance(labels := arguments.get("labels"), list) and len(labels) != arguments.get("num_classes"):
        arguments.pop("labels")  # KerasHub has saved other classes
    tensors = tasks.read_tensors(preset.files, WEIGHTS)
    return StoredTask(arguments, tensors, rules, truncation=truncation, notes=notes, file=CONFIG)


def _without_task(task_class: Any, preset: TaskPreset) -> StoredTask:
    """Returns a task for a preset that has none of its class: with KerasHub's head, so that it can be written again."""
    name = task_class.head_task
    return StoredTask({"head": head_in_kerashub(name, preset.backbone).to_config()} if name == "MaskedLM" else {})


def _preprocessor(config: Mapping[str, Any]) -> Mapping[str, Any]:
    envelope = config.get("preprocessor")
    inner = envelope.get("config") if isinstance(envelope, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _notes(preprocessor: Mapping[str, Any]) -> list[str]:
    given = preprocessor.get("truncate", ROUND_ROBIN)
    return [] if given == ROUND_ROBIN else [f"truncate is {given!r}: pairs that are too long are cut as longest_first"]


def _own_fields(document: Mapping[str, Any]) -> Mapping[str, Any]:
    fields = document.get(OWN, {})
    if not isinstance(fields, dict):
        raise PresetConfigError(CONFIG, f"{OWN} is {fields!r}, expected arguments by name")
    return fields


def _own_arguments(task_class: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that this package wrote next to KerasHub's.

    Raises:
        PresetConfigError: the head is invalid.
    """
    known = task_class._own_arguments()
    kept = {name: value for name, value in fields.items() if name in known}
    try:
        if "head" in kept:
            HeadSpec.from_config(kept["head"])
    except ValueError as error:
        raise PresetConfigError(CONFIG, f"the head in {OWN} is invalid: {error}") from error
    return kept


def _checked_head(task_class: Any, preset: TaskPreset, config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of the architecture, as KerasHub computes it.

    Raises:
        PresetConfigError: KerasHub's head has another width.
    """
    width = config.get("hidden_dim")
    if width not in (None, getattr(preset.backbone, "hidden_dim", width)):
        raise PresetConfigError(CONFIG, f"hidden_dim is {width!r}, expected that of the backbone")
    return head_in_kerashub(task_class.head_task, preset.backbone)


def task_in_kerashub(task_class: Any) -> str:
    """Returns the name of KerasHub's task for a class; a reranker is a classifier of one class."""
    return str(task_class.head_task or task_class.task_name())


def head_in_kerashub(task: str, backbone: Any) -> HeadSpec:
    """Returns the head of an architecture as KerasHub computes it.

    Args:
        task: The name under which the architecture declares the head.
        backbone: The backbone.
    """
    from vertebra_text.layers.head import head_of  # not at the top: describing a task imports no framework

    head = head_of(task, backbone, {})
    return replace(head, layers=tuple(map(_as_kerashub, head.layers))) if task == "MaskedLM" else head


def _as_kerashub(layer: Any) -> Any:
    if isinstance(layer, HeadSpec.Norm):
        return replace(layer, epsilon=_EPSILON)
    return replace(layer, activation=_ACTIVATION) if isinstance(layer, HeadSpec.Dense) else layer


def rules(task: Any) -> dict[str, TensorRule]:
    """Returns the dataset of each variable: Keras numbers the layers of a class in their order."""
    found: dict[str, TensorRule] = {}
    dense = 0
    for layer, built in task.built_head.layers:
        if isinstance(layer, HeadSpec.Vocabulary):
            found[f"{built.name}/bias"] = TensorRule(f"{_MASKED_LM}/vars/0")
        elif isinstance(layer, HeadSpec.Norm):
            group = f"{_MASKED_LM}/_intermediate_layer_norm/vars"
            found |= {f"{built.name}/gamma": TensorRule(f"{group}/0"), f"{built.name}/beta": TensorRule(f"{group}/1")}
        elif isinstance(layer, HeadSpec.Dense):
            group = "layers/dense" + (f"_{dense}" if dense else "") + "/vars"
            if task.head_task == "MaskedLM":
                group = f"{_MASKED_LM}/_intermediate_dense/vars"
            found |= {f"{built.name}/kernel": TensorRule(f"{group}/0"), f"{built.name}/bias": TensorRule(f"{group}/1")}
            dense += 1
    return found
