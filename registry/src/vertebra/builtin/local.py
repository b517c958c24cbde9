"""The local source: presets in local folders, by path or by file:// handle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vertebra._system.user_paths import full_path
from vertebra.builtin.folders import list_files, open_file, write_folder
from vertebra.errors import HandleError
from vertebra.handles import PresetHandle
from vertebra.interfaces import LocalSource
from vertebra.specs import PresetFile


class FolderSource(LocalSource):
    """Reads presets at `./x`, `~/x`, any other path, and `file:///absolute/path`."""

    scheme = "file"
    supports_absolute_paths = True

    def handle_for(self, text: str) -> PresetHandle | None:
        looks_like_path = text.startswith((".", "~")) or "/" in text or os.sep in text
        if not text or not (looks_like_path or os.path.exists(text)):  # noqa: PTH110 (Path's raises for long names)
            return None
        return PresetHandle(self.scheme, full_path(text).as_posix())

    def files(self, handle: PresetHandle) -> list[PresetFile]:
        return list_files(handle, _folder(handle))

    def fetch(self, handle: PresetHandle, name: str) -> Path:
        return open_file(handle, _folder(handle), name)

    def transformers_name(self, handle: PresetHandle) -> str | None:
        return handle.path

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        write_folder(handle, _folder(handle), files, replace)
        return handle


def _folder(handle: PresetHandle) -> Path:
    path = Path(handle.path)
    if not path.is_absolute():
        raise HandleError(str(handle), "a file:// handle needs an absolute path, such as file:///data/my_preset")
    return path
