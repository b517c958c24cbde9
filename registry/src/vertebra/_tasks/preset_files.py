"""Files of presets for plugins: without large downloads, or of a folder that is being written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.foreign_json import ForeignDocument, read_foreign_json
from vertebra.errors import PresetNotFoundError
from vertebra.handles import PresetHandle

MOST_BYTES = 25_000_000
"""Bytes that are downloaded without being asked for."""


def free_path(stage: Path, name: str) -> Path:
    """Returns the path of a new file in a folder; removes a file or link of its name, and links of its folders.

    The links may lead to the user's own files, which stay: the outermost is removed first, so that nothing below it is.
    """
    target = stage / name
    for folder in reversed(Path(name).parents):
        if folder.name and (stage / folder).is_symlink():
            (stage / folder).unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    return target


class LocalFiles:
    """Files at known paths; `vertebra.PresetFiles` documents the methods.

    Args:
        handle: The preset that they belong to.
        paths: The path of each file, by name.
    """

    def __init__(self, handle: PresetHandle, paths: Mapping[str, Path]) -> None:
        self._handle, self._paths = handle, dict(paths)

    @classmethod
    def of_folder(cls, handle: PresetHandle, folder: Path) -> LocalFiles:
        """Returns all files of a folder."""
        found = [path for path in folder.rglob("*") if path.is_file()]
        return cls(handle, {path.relative_to(folder).as_posix(): path for path in found})

    @property
    def handle(self) -> PresetHandle:
        return self._handle

    @property
    def names(self) -> set[str]:
        return set(self._paths)

    def fetch(self, name: str) -> Path:
        if name not in self._paths:
            raise PresetNotFoundError(self._handle, f"it has no file {name!r}")
        return self._paths[name]

    def json(self, name: str) -> ForeignDocument:
        return read_foreign_json(self.fetch(name))

    def require_complete(self) -> None:
        """Does nothing: all files are known."""

    def check_all(self) -> None:
        """Does nothing: the caller checks that files did not change."""


class SmallFiles:
    """The files of a preset that are local, or of at most `MOST_BYTES`; `vertebra.PresetFiles` documents the methods.

    Args:
        folder: The preset.
        download: Whether larger files are downloaded, too.
    """

    def __init__(self, folder: PresetFolder, download: bool = False) -> None:
        self._folder, self._download = folder, download
        self.fetched: set[str] = set()
        """Names of the files that were fetched."""

    @property
    def handle(self) -> PresetHandle:
        return self._folder.handle

    @property
    def names(self) -> set[str]:
        return self._folder.names

    def fetch(self, name: str) -> Path:
        if name in self._folder.names and not self._download and not self._folder.is_local(name):
            size = next(file.size for file in self._folder.files if file.name == name)
            if size > MOST_BYTES:
                problem = f"its file {name!r} has {size / 1e6:.1f} MB and is not on this machine"
                raise PresetNotFoundError(self.handle, problem, remedy="Download the preset with: vertebra pull")
        self.fetched.add(name)
        return self._folder.fetch(name)

    def json(self, name: str) -> ForeignDocument:
        self.fetch(name)
        return self._folder.json(name)

    def require_complete(self) -> None:
        self._folder.require_complete()

    def check_all(self) -> None:
        self._folder.check_all()
