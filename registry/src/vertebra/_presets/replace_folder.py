"""Replacing a preset folder: checks before a save, and keeping the user's own files, such as a tokenizer."""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from vertebra._arguments import is_amount
from vertebra._discovery.catalog import failed
from vertebra._formats.format import Format
from vertebra._formats.registry import format_of, formats, written_formats
from vertebra._presets.asset_names import CARRIED, MODULES, is_of_task, is_of_tokenizer, module_folders, name_in
from vertebra._resolve.candidates import handle_of_path
from vertebra._system.atomic_save import destination
from vertebra._system.foreign_json import read_foreign_json
from vertebra._system.log import log
from vertebra._tasks.preset_files import LocalFiles
from vertebra._tasks.tokenizers import find_tokenizer, same_tokens
from vertebra._weights.safetensors.file_kind import INDEX, WEIGHTS
from vertebra.errors import PresetConfigError, PresetFormatError, PresetSaveError, VertebraError
from vertebra.file_names import CERTIFICATE, CONFIG, SIGNATURE

_MOST_NAMES = 5
_WEIGHTS = re.compile(
    rf"{re.escape(WEIGHTS)}|{re.escape(INDEX)}|model-\d{{5}}-of-\d{{5}}\.safetensors"
    r"|model\.weights\.(h5|json)|model_\d{5}\.weights\.h5"
)
"""Names of weights files in all formats: an old one would be read as the new preset's."""
_CONFIGS = re.compile(rf"{CARRIED}/[^/]+/{re.escape(CONFIG)}")
"""Configs in other formats that the old preset kept: they describe its old weights."""


def check_request(preset_dir: str | Path, format: str, max_shard_size: float | None) -> Path:
    """Returns the absolute path to write to, after making every check that does not need the backbone.

    Raises:
        PresetFormatError: the format is not known.
        PresetSaveError: a preset cannot be written to this path.
    """
    if not isinstance(format, str) or format not in formats():
        raise PresetFormatError(
            f"Preset to write at {str(preset_dir)!r}", f"format={format!r} is not known", written_formats(), failed()
        )
    if format not in written_formats():
        problem = f"presets are not written in the {format} format, only read"
        raise PresetFormatError(f"Preset to write at {str(preset_dir)!r}", problem, written_formats())
    if max_shard_size is not None and not is_amount(max_shard_size):
        problem = f"max_shard_size={max_shard_size!r} is not a finite number above 0"
        raise PresetSaveError(preset_dir, problem, "Give a number of gigabytes, or None for a single file")
    target = destination(preset_dir)
    _check_target(target)
    return target


def _check_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise PresetSaveError(target, "it is a file, and a preset is a folder", "Choose another path")
    if target == Path.cwd() or target in Path.cwd().parents:
        raise PresetSaveError(target, "it holds the current directory", "Save to a separate folder")
    if target.is_dir() and any(target.iterdir()) and format_of_folder(target) is None:
        raise PresetSaveError(target, "the folder is not empty and holds no preset", "Choose a new or empty folder")
    _check_weights(target)


def _check_weights(target: Path) -> None:
    """Refuses to replace a preset whose folder has a second checkpoint, because a save would delete it unread."""
    unread = unread_weights(target) if target.is_dir() else []
    if unread:
        shown = ", ".join(unread[:_MOST_NAMES]) + (", …" if len(unread) > _MOST_NAMES else "")
        problem = f"its preset does not read all its weights files, and a save would delete them: {shown}"
        remedy = f"Compare the checkpoints (vertebra verify {target}) and remove one of them, or save to another folder"
        raise PresetSaveError(target, problem, remedy)


def format_of_folder(folder: Path) -> Format | None:
    """Returns the format of the preset in a folder, or None if the folder has no preset."""
    try:
        return format_of(read_foreign_json(folder / CONFIG).value)
    except (OSError, PresetConfigError):
        return None


def unread_weights(folder: Path) -> list[str]:
    """Returns the names of weights files in a folder that loading its preset does not read.

    For example, the shard index and the shards of a second checkpoint.
    """
    format = format_of_folder(folder)
    if format is None:
        return []
    names = {path.name for path in folder.iterdir()}
    return sorted(name for name in names - format.FILES.used(names) if _WEIGHTS.fullmatch(name))


def replaces_tokenizer(target: Path, own: Mapping[str, Path], rows: int | None) -> bool:
    """Says whether the tokenizer of the preset in a folder is another one than that of the new preset, and logs it.

    Kept, it would give the new weights the token ids of the old ones, without an error.

    Args:
        target: The folder that is replaced, which need not exist.
        own: The paths of the files that the new preset brings along, by name.
        rows: The number of rows of the new preset's token table, or None. A tokenizer in the folder that has as many
            tokens is kept if the new one has not: the table was made for it.
    """
    names = sorted(filter(is_of_tokenizer, own))
    if not names or format_of_folder(target) is None:
        return False
    old = LocalFiles.of_folder(handle_of_path(target), target)
    new = LocalFiles(handle_of_path(target), own)
    replaced = sorted(filter(is_of_tokenizer, old.names))
    if not replaced or _is_same(old, new, names) or _fits_better(old, new, rows):
        return False
    shown = ", ".join(replaced[:_MOST_NAMES])
    log.warning(
        "%s had the tokenizer of another preset (%s), which that of the new preset replaces; "
        "save_to_preset(assets=False) keeps it",
        target,
        shown,
    )
    return True


def _is_same(old: LocalFiles, new: LocalFiles, names: Sequence[str]) -> bool:
    """Says whether two presets have the same tokenizer: by its files, or else by its tokens if a plugin reads it."""
    both = [name for name in names if name in old.names]
    same_files = bool(both) and all(filecmp.cmp(old.fetch(name), new.fetch(name), shallow=False) for name in both)
    more = set(filter(is_of_tokenizer, old.names)) - set(names)  # which readers may prefer to those of the new preset
    return (same_files and (not more or find_tokenizer(new).tokenizer is None)) or _has_same_tokens(old, new)


def _has_same_tokens(old: LocalFiles, new: LocalFiles) -> bool:
    try:
        return same_tokens(old, new)
    except VertebraError:  # files of an unsound tokenizer give no tokens to compare
        return False


def _fits_better(old: LocalFiles, new: LocalFiles, rows: int | None) -> bool:
    found = [find_tokenizer(files).tokenizer for files in (old, new)]
    sizes = [None if tokenizer is None else tokenizer.vocabulary_size() for tokenizer in found]
    return rows is not None and sizes[0] == rows and sizes[1] != rows


def keep_user_files(
    target: Path,
    stage: Path,
    format: str,
    replace: bool = False,
    with_task: bool = True,
    with_tokenizer: bool = True,
) -> None:
    """Links the user's own files from a preset folder into the folder that replaces it.

    Each file gets the name that it has in a preset of the new format.

    Args:
        target: The folder that is replaced, which need not exist.
        stage: The folder that replaces it.
        format: The format of the new preset.
        replace: Whether the files replace different files of the same name in `stage`.
        with_task: Whether the files of the task that the folder holds are kept; if not, the new preset has its own.
        with_tokenizer: The same for the files of its tokenizer.
    """
    old = format_of_folder(target)
    if old is None:
        return
    own = {*old.WRITES, CERTIFICATE, SIGNATURE}  # a signature is not valid for other files
    modules = () if with_task else module_folders(_file(target / MODULES))

    def keep(item: Path, name: str) -> None:
        if item.is_dir() and not item.is_symlink():
            inner = list(item.iterdir())
            for entry in inner:
                keep(entry, f"{name}/{entry.name}")
            if not inner:
                (stage / name).mkdir(parents=True, exist_ok=True)
            if (stage / name).is_dir():
                shutil.copystat(item, stage / name)
        elif (not with_task and is_of_task(name, modules)) or (not with_tokenizer and is_of_tokenizer(name)):
            return
        elif name not in own and not _WEIGHTS.fullmatch(name) and not _CONFIGS.fullmatch(name):
            new = name_in(format, name, old.NAME, item)
            if new is not None:
                _link(item, stage / new, replace)

    for item in target.iterdir():
        keep(item, item.name)


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _link(item: Path, copy: Path, replace: bool) -> None:
    """Creates a hard link to a file, or a copy if the file system has no hard links; a symlink stays a symlink."""
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
    """Says whether two paths name the same file, or a file and its copy made by `_link`."""
    first, second = one.lstat(), other.lstat()
    unchanged = (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)
    return os.path.samestat(first, second) or unchanged
