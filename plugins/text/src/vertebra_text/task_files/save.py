"""Saves a task as a preset, in each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vertebra import TaskExport, TaskPreset, TextSample, tasks
from vertebra.errors import PresetFormatError
from vertebra_text.task_files import kerashub_writing, native, sentence_transformers, transformers
from vertebra_text.task_files.load import build_task

_EXPORTS: Mapping[str, tuple[str, Callable[[Any], TaskExport]]] = {
    "native": ("native", native.export),
    "transformers": ("transformers", transformers.export),
    "sentence-transformers": ("transformers", sentence_transformers.export),
    "kerashub": ("kerashub", kerashub_writing.export),
}
"""The format of the backbone, and the function that exports the task, by the name of the format."""


def save_task(
    task: Any, preset_dir: str | Path, max_shard_size: float | None, format: str, options: Mapping[str, Any]
) -> None:
    """Writes a preset folder; `Task.save_to_preset` documents it.

    Raises:
        PresetFormatError: the format is unknown.
    """
    of_backbone, exported = _exported(task, format, f"Preset to write at {str(preset_dir)!r}")
    with_tokenizer = replace(
        exported, write=lambda folder: _write(task, exported, folder, of_backbone), sample=_sample_of(task)
    )
    options = {"max_shard_size": max_shard_size, **options}
    tasks.save_preset(task.backbone, preset_dir, with_tokenizer, of_backbone, **options)


def export_preset(task_class: Any, preset: TaskPreset, format: str) -> TaskExport:
    """Returns what the task of a preset adds to a preset of another format; `Task.export_preset` documents it."""
    task, stored = build_task(task_class, preset, {}, {"compile": False})
    _, exported = _exported(task, format, str(preset.handle))
    rules = stored.rules(task).values()
    return replace(exported, read=[rule.tensor for rule in rules if rule.tensor in preset.tensors])


def _exported(task: Any, format: str, subject: str) -> tuple[str, TaskExport]:
    """Returns the format of the backbone, and what a task adds to it.

    Raises:
        PresetFormatError: the format is unknown.
    """
    if format not in _EXPORTS:
        raise PresetFormatError(subject, f"format={format!r} is not known", list(_EXPORTS))
    of_backbone, export = _EXPORTS[format]
    return of_backbone, export(task)


def _sample_of(task: Any) -> Callable[[Sequence[str]], TextSample] | None:
    """Returns the function that computes the sample for the certificate, if the task reads texts."""
    return None if task.tokenizer is None else task.text_sample


def _write(task: Any, exported: TaskExport, folder: Path, format: str) -> None:
    if task.tokenizer is not None:
        task.tokenizer.save_to_preset(folder, format=format)
    exported.write(folder)
