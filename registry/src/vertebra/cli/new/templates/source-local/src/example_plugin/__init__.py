"""Presets in the folders of a disk as `example-name://PATH`."""

import os
from pathlib import Path

from vertebra import LocalSource, PresetFile, PresetHandle, errors, hookimpl

ROOT = Path(os.environ.get("EXAMPLE_PLUGIN_ROOT", "/data/presets"))  # your folder


class ExamplePluginSource(LocalSource):  # this module must import no framework
    scheme = "example-name"

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def files(self, handle: PresetHandle) -> list[PresetFile]:
        folder = self._root / handle.path
        if not folder.is_dir():
            raise errors.PresetNotFoundError(handle, f"there is no folder {folder}")
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return [PresetFile(path.relative_to(folder).as_posix(), path.stat().st_size, path) for path in paths]

    def fetch(self, handle: PresetHandle, name: str) -> Path:
        for file in self.files(handle):
            if file.name == name and file.path is not None:
                return file.path
        raise errors.PresetNotFoundError(handle, f"there is no file {name!r} in it")


@hookimpl
def vertebra_preset_sources() -> list[LocalSource]:
    return [ExamplePluginSource()]
