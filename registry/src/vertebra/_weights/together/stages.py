"""Folders and files that all processes of a mesh write together, and that appear complete or not at all."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vertebra._system.atomic_save import new_folder, replacing_file, replacing_folder, translate_os_errors
from vertebra._weights.together.parts import PartsOf, Saving, Steps
from vertebra.errors import PresetSaveError


@contextlib.contextmanager
def replacing_by_all(
    target: Path, steps: Steps, parts_of: PartsOf, is_file: bool = False
) -> Iterator[tuple[Path, Saving | None]]:
    """Yields a path for all files of a save, and the save of the processes, or None if this process saves alone.

    The path is a folder that replaces `target`, as of `replacing_folder`, or with `is_file` a file, as of
    `replacing_file`. In all processes but the first it is one that is thrown away: files that each process writes as a
    whole are those of the first. Tensors of which processes have parts are written by all. The target is replaced once
    all processes have left the block without an error, and have forced their parts to disk.

    Raises:
        PresetSaveError: as of those functions, or this process does not see the folder of the first one.
        MeshError: another process failed, or is gone; the target is unchanged.
        ValueError: the parts of all processes are not the whole of the tensors.
    """
    replacing = replacing_file if is_file else replacing_folder
    if steps.count == 1:
        with replacing(target) as stage:
            yield stage, None
    elif steps.is_first:
        with replacing(target) as stage, _scratch(target) as scratch:
            steps.reach("stage", json.dumps([stage.name, scratch.name]))
            saving = Saving(steps, parts_of, scratch, stage)
            yield stage, saving
            saving.check_written()
    else:
        names = json.loads(steps.reach("stage")[0])
        stage, scratch = (target.parent / name for name in names)
        with translate_os_errors(target), tempfile.TemporaryDirectory(prefix="vertebra-") as own:
            if not scratch.is_dir():
                problem = f"this process does not see {scratch}, which process 0 has made"
                raise PresetSaveError(target, problem, "Save to a folder that all machines of the mesh share")
            saving = Saving(steps, parts_of, scratch, stage)
            yield Path(own, target.name) if is_file else Path(own), saving
            saving.check_written()


@contextlib.contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    folder = new_folder(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
