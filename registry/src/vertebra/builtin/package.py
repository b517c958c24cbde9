"""The package source: presets shipped inside pip packages, as package://import_name/sub/dir."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from vertebra.builtin.folders import list_files, open_file
from vertebra.errors import PresetNotFoundError
from vertebra.handles import PresetHandle
from vertebra.interfaces import LocalSource
from vertebra.specs import PresetFile


class PackageSource(LocalSource):
    """Reads presets from a package's folder, which it finds without importing the package."""

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
    except ValueError:  # __main__, and modules created at run time, have no spec
        spec = None
    roots = list(spec.submodule_search_locations or ()) if spec else []
    if not roots:
        raise PresetNotFoundError(handle, f"no package {package!r} is installed")
    folders = [Path(root, inside) for root in roots]
    return next((folder for folder in folders if folder.is_dir()), folders[0])
