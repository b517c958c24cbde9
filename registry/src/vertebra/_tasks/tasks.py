"""The tasks of a preset: facts about them without a framework, and their heads for another preset."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vertebra._discovery.catalog import TASKS, catalog, imported
from vertebra._discovery.task_classes import named_task, task_class
from vertebra._formats.description import PresetDescription
from vertebra._system.log import log
from vertebra._tasks.preset_files import SmallFiles, free_path
from vertebra._tasks.tokenizers import FoundTokenizer, find_tokenizer
from vertebra.errors import FormatLimitError, VertebraError, exception_text
from vertebra.specs import DescribedPreset, TaskExport, TaskFacts, TaskPreset


@dataclass(frozen=True, slots=True)
class DescribedTask:
    """A task that a preset holds."""

    name: str
    facts: TaskFacts
    distribution: str
    """The distribution of the plugin that provides the task."""


@dataclass(frozen=True, slots=True)
class PresetUses:
    """The uses of a preset besides features: its tasks and its tokenizer."""

    tasks: Sequence[DescribedTask]
    problems: Sequence[str]
    """Why tasks could not be described; each once."""
    tokenizer: FoundTokenizer
    files: SmallFiles
    """The preset's files; `fetched` has those that were read."""


def describe_uses(
    description: PresetDescription, tensors: Sequence[str] | None, download: bool = False, tokenizer: bool = True
) -> PresetUses:
    """Returns the tasks and the tokenizer of a preset, from small files alone.

    Args:
        description: The preset.
        tensors: Names of the tensors that are not the backbone's, or None if the headers were not read.
        download: Whether files of more than 25 MB are downloaded.
        tokenizer: Whether the tokenizer is read.
    """
    files = SmallFiles(description.folder, download)
    found = find_tokenizer(files) if tokenizer else FoundTokenizer()
    preset = DescribedPreset(
        description.format_of_files, description.backbone, description.arguments, files, tensors, found.tokenizer
    )
    described, problems = _describe_tasks(preset)
    return PresetUses(described, problems, found, files)


def _describe_tasks(preset: DescribedPreset) -> tuple[list[DescribedTask], list[str]]:
    described, problems = [], []
    for entry in catalog(TASKS):
        if not entry.value.describe:
            continue
        try:
            facts = imported(entry, entry.value.describe)(entry.name, preset)
        except (VertebraError, OSError) as error:  # loading the task reports it
            log.info("%s: its task %s was not described: %s", preset.files.handle, entry.name, error)
            problems.append(str(error))
            continue
        except Exception as error:  # of a plugin; the preset can be described without this task
            reason = exception_text(error)
            log.info("%s: its task %s was not described: %s", preset.files.handle, entry.name, reason)
            continue
        if facts is not None:
            described.append(DescribedTask(entry.name, facts, entry.owner.distribution))
    return described, list(dict.fromkeys(problems))


def loaded_class(name: str) -> Any:
    """Imports and returns the class of a task, or None if no plugin contributes it."""
    task = named_task(name)
    return None if task is None else task_class(task)


def export_task(name: str, preset: TaskPreset, format: str, folder: Path) -> TaskExport | str:
    """Returns what the task of a preset adds to a preset of another format, or the reason why it has no form there.

    Args:
        name: The task.
        preset: The preset; its backbone has no values.
        format: The format of the target.
        folder: An empty folder for the files of the task, until they are written.
    """
    from vertebra._weights.abstract import abstract_build

    task = loaded_class(name)
    try:
        with abstract_build():
            export: TaskExport = task.export_preset(preset, format)
            export.write(folder)  # in this block, which has the values of the head
    except FormatLimitError as error:
        reason = f"{error.argument}={error.value!r}: {error.problem}"
        return f"the task {name} has no form in the {format} format, so only its backbone was written: {reason}"
    return replace(export, write=partial(_move_files, folder))


def _move_files(folder: Path, target: Path) -> None:
    for path in [path for path in sorted(folder.rglob("*")) if path.is_file()]:
        shutil.move(path, free_path(target, path.relative_to(folder).as_posix()))


def write_task(task: TaskExport, stage: Path) -> set[str]:
    """Adds the files of a task to a preset; a file of the same name may be a link to the user's, so it is replaced.

    Returns:
        The names of the files.
    """
    with tempfile.TemporaryDirectory(prefix=".task-", dir=stage) as folder:
        task.write(Path(folder))
        names = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
        _move_files(Path(folder), stage)
    return names
