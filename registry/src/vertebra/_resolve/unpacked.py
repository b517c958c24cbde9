"""Presets that are single files in the format of a plugin: the small files in them are as if they were next to them.

A `FileFormat` says what the header of such a file holds: a config, and perhaps a tokenizer. They are unpacked into a
temporary folder, so that all that reads the files of a preset reads these, too. They are no files of the source: a
lockfile, a bundle and a download have the one file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

from vertebra._discovery.catalog import Entry
from vertebra._resolve.filenames import unsafe_names
from vertebra._resolve.listing import file_formats
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._weights.hdf5.file_kind import HDF5
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.single_file import MappedSingleFile, SingleFileKind
from vertebra.errors import CacheError, PluginError, PresetNotFoundError
from vertebra.file_names import ADAPTER_CONFIG
from vertebra.handles import PresetHandle
from vertebra.interfaces import FileFormat
from vertebra.specs import FileHeader, PresetFile

_MOST_NAMED = 20


class UnpackedFolder(PresetFolder):
    """A preset that is a single file, perhaps among others, and the small files that were unpacked of it.

    Args:
        folder: The preset.
        kind: The kind of its weights file.
    """

    def __init__(self, folder: PresetFolder, kind: SingleFileKind) -> None:
        vars(self).update(vars(folder))
        self._stored = folder  # which owns the header stubs
        self.single_file = kind
        self._unpacked: dict[str, Path] = {}
        header = self._read_header(kind)
        self._unpacked = _unpack(self, kind, header)
        self.names = self.names | self._unpacked.keys()
        self.listed_names = self.listed_names | self._unpacked.keys()
        small = {name: PresetFile(name, path.stat().st_size, path) for name, path in self._unpacked.items()}
        self._by_name = self._by_name | small

    def _read_header(self, kind: SingleFileKind) -> FileHeader:
        path = self.fetch_headers([kind.weights], kind.header_end)[0]
        mapped = MappedSingleFile(path, kind)
        self.check_read(kind.weights, mapped.header.identity)
        kind.known = mapped.header.identity, mapped.contents
        return mapped.contents

    @property
    def is_file(self) -> bool:
        """False: the file is a whole preset."""
        return False

    def relisted(self) -> PresetFolder:
        """Returns the folder with its present file list."""
        again = self._stored.relisted()
        return self if again is self._stored else unpacked(again)

    def is_local(self, name: str) -> bool:
        return name in self._unpacked or super().is_local(name)

    def find(self, name: str) -> Path | None:
        return self._unpacked.get(name) or super().find(name)

    def fetch_all(self, names: Sequence[str]) -> list[Path]:
        stored = [name for name in names if name not in self._unpacked]
        paths = dict(zip(stored, super().fetch_all(stored), strict=True)) if stored else {}
        return [self._unpacked.get(name) or paths[name] for name in names]


def unpacked(folder: PresetFolder) -> PresetFolder:
    """Returns a preset with the files that are in its one file, if it is in a `FileFormat`; else the folder as it is.

    It is not, if it also has weights that a built-in format reads, or an adapter, or several files of which each is a
    preset: `several_files` names them.

    Raises:
        WeightsFileError: the file is unsound.
        PresetConfigError: the model in it cannot be read.
        PluginError: the format fails.
    """
    found = _candidates(folder)
    if len(found) != 1:
        return folder
    ((name, entry),) = found.items()
    return UnpackedFolder(folder, SingleFileKind(entry.value, entry.owner.distribution, name))


def several_files(folder: PresetFolder) -> PresetNotFoundError | None:
    """Returns the error for a preset with several files of which each is a whole preset, or None for another one."""
    found = [] if folder.single_file else sorted(_candidates(folder))
    if not found:
        return None
    problem = f"it has {len(found)} files of which each is a whole preset, such as of another precision"
    handles = [f"{folder.requested.rstrip('/')}/{name}" for name in found[:_MOST_NAMED]]
    if "://" in folder.requested:
        handles = [str(_inside(folder.located, name)) for name in found[:_MOST_NAMED]]
    return PresetNotFoundError(folder.handle, problem, handles, "Name the file that you mean")


def _candidates(folder: PresetFolder) -> dict[str, Entry[FileFormat]]:
    """Returns the files of a preset of which each is a whole preset, with their formats."""
    formats = file_formats()
    if not formats or ADAPTER_CONFIG in folder.names:
        return {}
    if SAFETENSORS.used(folder.names) or HDF5.used(folder.names):
        return {}
    top = [name for name in folder.names if "/" not in name]
    return {name: entry for entry in formats for name in top if name.lower().endswith(entry.value.suffix)}


def _inside(handle: PresetHandle, name: str) -> PresetHandle:
    return PresetHandle(handle.scheme, f"{handle.path}/{name}", handle.revision)


def _unpack(folder: UnpackedFolder, kind: SingleFileKind, header: FileHeader) -> dict[str, Path]:
    """Writes small files into a temporary folder, which exists as long as the preset's object."""
    if (unsafe := unsafe_names(list(header.files))) or any("/" in name for name in header.files):
        names = ", ".join(unsafe or header.files)
        raise PluginError(kind.owner, f"its format {kind.format.name} unpacks files of unsafe names: {names}")
    try:
        target = Path(tempfile.mkdtemp(prefix="vertebra-"))
        weakref.finalize(folder, shutil.rmtree, target, ignore_errors=True)
        for name, content in header.files.items():
            (target / name).write_bytes(content)
    except OSError as error:
        problem = f"the config in {kind.weights} cannot be unpacked: {os.strerror(error.errno or 0)}"
        raise CacheError(tempfile.gettempdir(), problem, "Free some space, or name another folder in TMPDIR") from error
    return {name: target / name for name in header.files}
