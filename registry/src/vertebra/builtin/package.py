"""The package source: presets that organisations ship inside pip packages, as package://import_name/sub/dir."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from vertebra.builtin.folders import list_files, open_file
from vertebra.errors import PresetNotFoundError
from vertebra.handles import PresetHandle
from vertebra.interfaces import LocalSource
from vertebra.specs import PresetFile


class PackageSource(LocalSource):
    """Finds the package's folder without importing the package."""

    scheme = "package"

    def files(self, handle: PresetHandle) -> list[PresetFile]:
        return list_files(handle, _folder(handle))

    def fetch(self, handle: PresetHandle, name: str) -> Path:
        return open_file(handle, _folder(handle), name)


def _folder(handle: PresetHandle) -> Path:
    package, _, inside = handle.path.partition("/")
    if not package.isidentifier():
        raise PresetNotFoundError(handle, f"{package!r} is not the import name of a package")
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # __main__, and modules that were made by hand
        spec = None
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise PresetNotFoundError(handle, f"no package {package!r} is installed")
    folders = [Path(place, inside) for place in places]
    return next((folder for folder in folders if folder.is_dir()), folders[0])
