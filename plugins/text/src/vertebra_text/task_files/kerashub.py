"""Tasks of KerasHub presets: `task.json`, and the variables of the head in `task.weights.h5`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vertebra import HeadSpec, TaskExport, TaskPreset, TensorRule, tasks
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_text.layers.head import head_of
from vertebra_text.task_files.stored import StoredTask

CONFIG, WEIGHTS = "task.json", "task.weights.h5"
_MASKED_LM = "layers/masked_lm_head"
_ARGUMENTS = ("num_classes", "activation", "dropout", "pooling_mode", "normalize")
"""Arguments with the same names and meanings here."""
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
        return StoredTask()
    document = preset.files.json(CONFIG).value
    name, config = document.get("class_name"), document.get("config")
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise PresetConfigError(CONFIG, "it has no class_name and config, expected the config of a Keras object")
    if not name.endswith(task_class.task_name()):
        return StoredTask(notes=[f"it has a head of {name}, which is not used"])
    arguments = {argument: config[argument] for argument in _ARGUMENTS if argument in config}
    if "pooling_mode" in arguments:
        return StoredTask(arguments)
    arguments["head"] = _head(task_class, preset, config).to_config()
    if "num_classes" in own or "labels" in own:
        arguments.pop("num_classes", None)
    return StoredTask(arguments, tasks.read_tensors(preset.files, WEIGHTS), _rules)


def _head(task_class: Any, preset: TaskPreset, config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of the architecture, as KerasHub computes it.

    Raises:
        PresetConfigError: KerasHub's head has another width.
    """
    head = head_of(task_class.head_task, preset.backbone, {})
    width = config.get("hidden_dim")
    if width not in (None, getattr(preset.backbone, "hidden_dim", width)):
        raise PresetConfigError(CONFIG, f"hidden_dim is {width!r}, expected that of the backbone")
    if task_class.head_task != "MaskedLM":
        return head
    layers = [_as_kerashub(layer) for layer in head.layers]
    return replace(head, layers=tuple(layers))


def _as_kerashub(layer: Any) -> Any:
    if isinstance(layer, HeadSpec.Norm):
        return replace(layer, epsilon=_EPSILON)
    return replace(layer, activation=_ACTIVATION) if isinstance(layer, HeadSpec.Dense) else layer


def _rules(task: Any) -> dict[str, TensorRule]:
    """Returns the dataset of each variable: Keras numbers the layers of a class in their order."""
    rules: dict[str, TensorRule] = {}
    dense = 0
    for layer, built in task.built_head.layers:
        if isinstance(layer, HeadSpec.Vocabulary):
            rules[f"{built.name}/bias"] = TensorRule(f"{_MASKED_LM}/vars/0")
        elif isinstance(layer, HeadSpec.Norm):
            group = f"{_MASKED_LM}/_intermediate_layer_norm/vars"
            rules |= {f"{built.name}/gamma": TensorRule(f"{group}/0"), f"{built.name}/beta": TensorRule(f"{group}/1")}
        elif isinstance(layer, HeadSpec.Dense):
            group = "layers/dense" + (f"_{dense}" if dense else "") + "/vars"
            if task.head_task == "MaskedLM":
                group = f"{_MASKED_LM}/_intermediate_dense/vars"
            rules |= {f"{built.name}/kernel": TensorRule(f"{group}/0"), f"{built.name}/bias": TensorRule(f"{group}/1")}
            dense += 1
    return rules


def export(task: Any) -> TaskExport:
    """Returns what the task adds to a KerasHub preset.

    Raises:
        FormatLimitError: KerasHub has no such task, or not such settings.
    """
    problem = "tasks are not written in it; save the backbone, with task.backbone.save_to_preset"
    raise FormatLimitError("kerashub", "task", type(task).task_name(), problem)
