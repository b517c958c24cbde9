"""Saves a task as a preset, in each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vertebra import TaskExport, tasks
from vertebra.errors import PresetFormatError
from vertebra_text.task_files import kerashub_writing, native, sentence_transformers, transformers

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
    if format not in _EXPORTS:
        raise PresetFormatError(
            f"Preset to write at {str(preset_dir)!r}", f"format={format!r} is not known", list(_EXPORTS)
        )
    of_backbone, export = _EXPORTS[format]
    exported = export(task)
    with_tokenizer = TaskExport(
        lambda folder: _write(task, exported, folder, of_backbone), exported.tensors, exported.config, exported.model
    )
    options = {"max_shard_size": max_shard_size, **options}
    tasks.save_preset(task.backbone, preset_dir, with_tokenizer, of_backbone, **options)


def _write(task: Any, exported: TaskExport, folder: Path, format: str) -> None:
    if task.tokenizer is not None:
        task.tokenizer.save_to_preset(folder, format=format)
    exported.write(folder)
