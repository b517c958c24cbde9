"""Tasks in Vertebra's own format: `task.json`, and `task.safetensors` with the variables of the head by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra import TaskExport, TaskPreset, TensorRule, tasks
from vertebra.errors import ArgumentError, PresetClassError, PresetConfigError
from vertebra_text.system import warn
from vertebra_text.task_files.stored import TRUNCATION, StoredTask, length_of, truncation_of

FORMAT, CONFIG, WEIGHTS = "native", "task.json", "task.safetensors"
_VERSION = 1


def recognises(preset: TaskPreset) -> bool:
    """Returns whether a preset has a task in this format."""
    return preset.format == FORMAT and CONFIG in preset.files.names


def read(task_class: Any, preset: TaskPreset, own: Mapping[str, Any]) -> StoredTask:
    """Returns the task of a preset.

    Raises:
        PresetClassError: it is another task.
        PresetConfigError: `task.json` is invalid, or of a newer version.
    """
    config = preset.files.json(CONFIG).value
    arguments = config.get("arguments")
    if config.get("vertebra_task") != _VERSION:
        problem = (
            f"vertebra_task is {config.get('vertebra_task')!r}, and this version of vertebra-text reads {_VERSION}"
        )
        raise PresetConfigError(CONFIG, problem, "Update vertebra-text")
    if not isinstance(arguments, dict):
        raise PresetConfigError(CONFIG, f"arguments is {arguments!r:.200}, expected values by name")
    if config.get("task") != task_class.task_name():
        if "pooling_mode" in task_class._own_arguments():
            return StoredTask()  # any backbone can embed
        raise PresetClassError(preset.handle, str(config.get("task")), task_class.task_name())
    length = length_of(CONFIG, "sequence_length", config.get("sequence_length"))
    replaced = {"labels", "num_classes"} & own.keys()
    kept = {name: value for name, value in arguments.items() if not (replaced and name in ("labels", "num_classes"))}
    tensors = tasks.read_tensors(preset.files, WEIGHTS) if WEIGHTS in preset.files.names else {}
    truncation = truncation_of(CONFIG, config)
    return StoredTask(kept, tensors, _rules, length, truncation, file=CONFIG)


def _rules(task: Any) -> dict[str, TensorRule]:
    return {name: TensorRule(name) for name in task.head_weights()}


def export(task: Any) -> TaskExport:
    """Returns what the task adds to a native preset."""
    try:
        task.check_stored(task.task_arguments())
    except ArgumentError as error:
        warn(f"{error.argument} cannot be loaded from a preset: pass {error.argument}=... to from_preset again")
    return TaskExport(lambda folder: _write(task, folder))


def _write(task: Any, folder: Path) -> None:
    import keras  # not at the top: describing a task imports no framework

    from vertebra_text.preprocessor import TextPreprocessor

    config = {
        "vertebra_task": _VERSION,
        "task": type(task).task_name(),
        "arguments": task.task_arguments(),
        "sequence_length": getattr(task.preprocessor, "sequence_length", None),
    }
    if isinstance(task.preprocessor, TextPreprocessor):
        config[TRUNCATION] = task.preprocessor.truncation
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    weights = task.head_weights()
    if weights:
        tasks.write_tensors(
            folder / WEIGHTS, {name: keras.ops.convert_to_numpy(w.value) for name, w in weights.items()}
        )
