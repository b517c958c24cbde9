"""Tasks of KerasHub presets: `task.json` and `task.weights.h5`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra.tasks import TaskPreset, read_tensors
from vertebra_text.task_files.stored import StoredTask

CONFIG, WEIGHTS = "task.json", "task.weights.h5"


def recognises(preset: TaskPreset) -> bool:
    """Returns whether a preset is KerasHub's."""
    return preset.format == "kerashub"


def read(task_class: Any, preset: TaskPreset, own: Mapping[str, Any]) -> StoredTask:
    """Returns the task of a preset, or an empty one if it has none."""
    return StoredTask()
