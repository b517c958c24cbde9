"""The classes of tasks by name: `TextClassifier` of any architecture, or `BertTextClassifier` of one."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from vertebra._discovery.backbone_classes import backbone_class
from vertebra._discovery.catalog import BACKBONES, TASKS, Entry, catalog, imported
from vertebra.specs import TaskSpec

_SUFFIX, _PACKAGE = "Backbone", "vertebra"


@dataclass(frozen=True, slots=True)
class NamedTask:
    """What the name of a task means."""

    name: str
    entry: Entry[TaskSpec]
    backbone: str | None
    """The name of the backbone's class, if the name is that of an architecture's task."""


def named_task(name: str) -> NamedTask | None:
    """Returns the task of a name, or None if no plugin contributes it.

    Raises:
        NameClashError: several plugins claim the task.
    """
    tasks, backbones = catalog(TASKS), catalog(BACKBONES)
    if name in tasks:
        return NamedTask(name, tasks.lookup(name), None)
    for entry in tasks:
        backbone = name.removesuffix(entry.name) + _SUFFIX
        if name.endswith(entry.name) and backbone in backbones:
            return NamedTask(name, entry, backbone)
    return None


@functools.cache
def task_class(task: NamedTask) -> Any:
    """Imports the class of a task; of an architecture's task, it is a subclass whose `backbone_class` is set.

    Raises:
        PluginError: the class cannot be imported.
    """
    loaded = imported(task.entry, task.entry.value.task)
    if task.backbone is None:
        return loaded
    import keras

    members = {
        "backbone_class": backbone_class(task.backbone),
        "__module__": "vertebra.models",
        "__doc__": loaded.__doc__,
    }
    made = type(loaded)(task.name, (loaded,), members)
    return keras.saving.register_keras_serializable(_PACKAGE)(made)


def class_names() -> list[str]:
    """Returns the names of all classes: of backbones, of tasks, and of each architecture's tasks."""
    backbones = [entry.name for entry in catalog(BACKBONES)]
    tasks = [entry.name for entry in catalog(TASKS)]
    return [*backbones, *tasks, *(name.removesuffix(_SUFFIX) + task for name in backbones for task in tasks)]
