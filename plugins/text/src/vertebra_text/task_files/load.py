"""Builds a task from a preset: backbone, head and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra import TaskPreset, tasks
from vertebra.errors import ArgumentError, PresetConfigError, PresetNotFoundError, VertebraError, exception_text
from vertebra_text.preprocessor import TextPreprocessor
from vertebra_text.system import log
from vertebra_text.task_files import kerashub, native, sentence_transformers, transformers
from vertebra_text.task_files.stored import StoredTask, fill
from vertebra_text.tokenizers.interface import Tokenizer

_READERS = (native, kerashub, sentence_transformers, transformers)
"""Modules that read tasks, in the order in which they are asked: the files of the first ones come with a config that
the last ones read, too."""


def load_task(
    task_class: Any,
    preset: str | Path,
    of_preset: Mapping[str, Any],
    own: Mapping[str, Any],
    of_backbone: Mapping[str, Any],
    parts: Mapping[str, Any],
) -> Any:
    """Builds the task of a preset; `Task.from_preset` documents it.

    Args:
        task_class: The class.
        preset: The preset.
        of_preset: How the preset is opened: `load_weights`, `locked` and `copy` of `Backbone.from_preset`.
        own: Arguments of the task, given by the user.
        of_backbone: Arguments of the backbone.
        parts: The preprocessor, if the user gave one.
    """
    opened = tasks.open_preset(preset, task_class.backbone_class, **of_preset, **of_backbone)
    return build_task(task_class, opened, own, parts, of_preset["load_weights"])[0]


def build_task(
    task_class: Any,
    opened: TaskPreset,
    own: Mapping[str, Any],
    parts: Mapping[str, Any],
    load_weights: bool = True,
) -> tuple[Any, StoredTask]:
    """Builds the task of a preset that is open; returns it with what the preset says about it.

    Args:
        task_class: The class.
        opened: The preset; its backbone may have no values.
        own: Arguments of the task that override those of the preset.
        parts: The preprocessor, if it is not the preset's own, and other arguments of every task.
        load_weights: Whether to load the weights of the head.
    """
    stored = _stored(task_class, opened, own)
    for note in stored.notes:
        log.warning("%s: %s", opened.handle, note)
    if "preprocessor" not in parts:
        parts = {"preprocessor": _preprocessor(opened, stored), **parts}
    task = _constructed(task_class, opened, stored, own, parts)
    task.read_files(opened.files)
    if load_weights:
        changed = [name for name, value in own.items() if stored.arguments.get(name) != value]
        task.__dict__["random_weights"] = fill(task, opened, stored, changed)
    return task, stored


def _stored(task_class: Any, opened: TaskPreset, own: Mapping[str, Any]) -> StoredTask:
    """Returns what a preset says about a task: as the task reads it, or else the first reader of its files."""
    if opened.format != native.FORMAT and (found := task_class.stored_in(opened)) is not None:
        return found
    reader = next((reader for reader in _READERS if reader.recognises(opened)), None)
    return StoredTask() if reader is None else reader.read(task_class, opened, own)


def _constructed(
    task_class: Any, opened: TaskPreset, stored: StoredTask, own: Mapping[str, Any], parts: Mapping[str, Any]
) -> Any:
    """Returns the task of the arguments of a file, and of those of the user, which override them.

    Raises:
        PresetConfigError: an argument of the file cannot be used.
    """
    known = task_class._own_arguments()
    of_file = {name: value for name, value in stored.arguments.items() if name in known and name not in own}
    unknown = [name for name in stored.arguments if name not in known]
    if unknown:
        names = ", ".join(map(repr, unknown))
        log.warning("%s: arguments that %s lacks are not used: %s", opened.handle, task_class.__name__, names)
    try:
        task_class.check_stored(of_file)
        return task_class(opened.backbone, **parts, **of_file, **own)
    except ArgumentError as error:
        name = error.argument.partition("[")[0]
        if name not in of_file:
            raise
        problem = f"{error.argument} is {error.value!r:.200}, expected {error.expected}"
        raise PresetConfigError(stored.file, problem, f"Correct the file, or pass {name}=...") from error
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        if isinstance(error, VertebraError) or not of_file:
            raise
        problem = f"{task_class.__name__} cannot be built from {of_file!r:.200} ({exception_text(error)})"
        raise PresetConfigError(stored.file, problem, "Correct the file, or pass other arguments") from error


def _preprocessor(opened: TaskPreset, stored: StoredTask) -> TextPreprocessor | None:
    """Returns the preset's own preprocessor, or None if it has no tokenizer."""
    try:
        tokenizer = Tokenizer.from_files(opened.files)
    except PresetNotFoundError as error:
        log.warning("%s: it has no tokenizer, so the task takes token ids. %s", opened.handle, error)
        return None
    return TextPreprocessor(tokenizer, stored.sequence_length, stored.truncation).bound_to(opened.backbone)
