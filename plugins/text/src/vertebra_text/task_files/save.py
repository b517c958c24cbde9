"""Saves a task as a preset, in each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vertebra import TaskExport, TaskPreset, TextSample, tasks
from vertebra.errors import PresetFormatError
from vertebra_text.preprocessor import TextPreprocessor
from vertebra_text.system import warn
from vertebra_text.task_files import kerashub_writing, native, sentence_transformers, transformers
from vertebra_text.task_files.load import build_task
from vertebra_text.tokenizers.encoding.options import LIMITING

_TRANSFORMERS = "transformers"


def _export_transformers(task: Any) -> TaskExport:
    """Returns what a task adds to a transformers checkpoint; an embedder, the modules of Sentence Transformers."""
    return (sentence_transformers if hasattr(task, "pooling_mode") else transformers).export(task)


_EXPORTS: Mapping[str, tuple[str, Callable[[Any], TaskExport]]] = {
    native.FORMAT: (native.FORMAT, native.export),
    "transformers": (_TRANSFORMERS, _export_transformers),
    "sentence-transformers": (_TRANSFORMERS, sentence_transformers.export),
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
    of_backbone, exported = _exported(task, format, str(preset.handle))
    rules = stored.rules(task).values()
    read = [rule.tensor for rule in rules if rule.tensor in preset.tensors]
    if of_backbone != _TRANSFORMERS:
        return replace(exported, read=read)
    if preset.format == _TRANSFORMERS:  # its files are carried, with the fields that only the peers read
        return replace(exported, read=read, write=lambda _: None)
    same = getattr(task.preprocessor, "truncation", LIMITING[0]) == LIMITING[0]
    write = partial(_write_with_length, task, exported)
    return replace(exported, read=read, write=write, same_texts=same)


def _write_with_length(task: Any, exported: TaskExport, folder: Path) -> None:
    """Writes the task, and its tokenizer if a copy of the preset's would allow rows of another length."""
    exported.write(folder)
    if task.tokenizer is not None and _length_of(task, task.tokenizer) != task.preprocessor.sequence_length:
        _write_tokenizer(task, folder, _TRANSFORMERS)


def _exported(task: Any, format: str, subject: str) -> tuple[str, TaskExport]:
    """Returns the format of the backbone, and what a task adds to it.

    Raises:
        PresetFormatError: the format is unknown.
    """
    if format not in _EXPORTS:
        raise PresetFormatError(subject, f"format={format!r} is not known", list(_EXPORTS))
    of_backbone, export = _EXPORTS[format]
    own = None if format == native.FORMAT else task.exported_to(format)
    exported = export(task) if own is None else own
    truncation = getattr(task.preprocessor, "truncation", LIMITING[0])
    if of_backbone == _TRANSFORMERS and truncation != LIMITING[0]:
        problem = "do not say how texts that are too long are cut"
        warn(f"Transformers checkpoints {problem}: truncation={truncation!r} is not saved, but {LIMITING[0]} is read")
    return of_backbone, exported


def _sample_of(task: Any) -> Callable[[Sequence[str]], TextSample] | None:
    """Returns the function that computes the sample for the certificate, if the task reads texts."""
    return None if task.tokenizer is None else task.text_sample


def _write(task: Any, exported: TaskExport, folder: Path, format: str) -> None:
    if task.tokenizer is not None:
        _write_tokenizer(task, folder, format)
    exported.write(folder)
    for name, content in task.further_files().items():
        (folder / name).write_bytes(content)


def _write_tokenizer(task: Any, folder: Path, format: str) -> None:
    """Writes the tokenizer of a task; in a transformers checkpoint, it is the tokenizer that limits the rows."""
    tokenizer, length = task.tokenizer, getattr(task.preprocessor, "sequence_length", None)
    if format == _TRANSFORMERS and length != _length_of(task, tokenizer):
        tokenizer = tokenizer.with_max_length(length)
    tokenizer.save_to_preset(folder, format=format)


def _length_of(task: Any, tokenizer: Any) -> int | None:
    """Returns the most tokens of a row if a preset says nothing else about it than its tokenizer."""
    return TextPreprocessor(tokenizer).bound_to(task.backbone).sequence_length
