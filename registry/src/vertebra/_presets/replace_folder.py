"""Replacing a preset: files that its owner has put into the folder, such as a tokenizer, stay in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from types import ModuleType

from vertebra._formats.registry import format_of
from vertebra._presets.assets import CARRIED, name_in
from vertebra._presets.certificate_header import CERTIFICATE
from vertebra._resolve.preset_folder import CONFIG
from vertebra._system.strict_json import read_json
from vertebra._weights.safetensors.file_kind import INDEX, WEIGHTS
from vertebra.errors import PresetConfigError

_WEIGHTS = re.compile(
    rf"{re.escape(WEIGHTS)}|{re.escape(INDEX)}|model-\d{{5}}-of-\d{{5}}\.safetensors"
    r"|model\.weights\.(h5|json)|model_\d{5}\.weights\.h5"
)
"""Names of weights files of every format, which would be taken for those of the new preset."""
_CONFIGS = re.compile(rf"{CARRIED}/[^/]+/{re.escape(CONFIG)}")
"""Configs of other formats that the old preset kept, which tell of its weights."""


def format_of_folder(folder: Path) -> ModuleType | None:
    """Returns the module of the format of the preset in a folder, or None if there is no preset in it."""
    try:
        return format_of(read_json(folder / CONFIG))
    except (OSError, PresetConfigError):
        return None


def unread_weights(folder: Path) -> list[str]:
    """Returns the names of weights files in a folder that its preset's format does not read.

    Such as the index and the shards of a second checkpoint, where a single file is read.
    """
    format = format_of_folder(folder)
    if format is None:
        return []
    names = {path.name for path in folder.iterdir()}
    return sorted(name for name in names - format.FILES.used(names) if _WEIGHTS.fullmatch(name))


def carry_others(target: Path, stage: Path, format: str, replace: bool = False) -> None:
    """Links the files of an existing folder that are not the preset's own into the folder that takes its place.

    They get the names that they have in a preset of the new format.

    Args:
        target: The folder that is replaced, which need not exist.
        stage: The folder that takes its place.
        format: The format of the preset in it.
        replace: Whether they replace files of the new folder that have these names and another content.
    """
    old = format_of_folder(target)
    if old is None:
        return
    own = {*old.WRITES, CERTIFICATE}

    def keep(item: Path, name: str) -> None:
        if item.is_dir() and not item.is_symlink():
            inner = list(item.iterdir())
            for entry in inner:
                keep(entry, f"{name}/{entry.name}")
            if not inner:
                (stage / name).mkdir(parents=True, exist_ok=True)
            if (stage / name).is_dir():
                shutil.copystat(item, stage / name)
        elif name not in own and not _WEIGHTS.fullmatch(name) and not _CONFIGS.fullmatch(name):
            new = name_in(format, name, old.NAME, item)
            if new is not None:
                _link(item, stage / new, replace)

    for item in target.iterdir():
        keep(item, item.name)


def _link(item: Path, copy: Path, replace: bool) -> None:
    """Gives a file a second name, or copies it where the file system has no links; a link stays a link."""
    if os.path.lexists(copy):
        if not replace or _is_copy(copy, item):
            return
        copy.unlink()
    copy.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(item, copy, follow_symlinks=False)
        return
    shutil.copy2(item, copy, follow_symlinks=False)


def _is_copy(one: Path, other: Path) -> bool:
    """Returns whether two names are of one file, or of a file and a copy that `_link` made of it."""
    first, second = one.lstat(), other.lstat()
    unchanged = (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)
    return os.path.samestat(first, second) or unchanged
