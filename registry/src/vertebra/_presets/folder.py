"""A preset folder, wherever it is: from what the user wrote to files with local paths."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from vertebra._catalog import SOURCES, Entry, catalog, presets
from vertebra._documents import read_json
from vertebra._plugins import registry
from vertebra.errors import (
    HandleError,
    PluginError,
    PresetConfigError,
    PresetNotFoundError,
    PresetRefusedError,
    VertebraError,
    close_names,
)
from vertebra.handles import PresetHandle
from vertebra.interfaces import PresetSource
from vertebra.specs import PresetFile

CONFIG = "config.json"
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f]|^[A-Za-z]:")


class PresetFolder:
    """The files of one preset, at one revision."""

    def __init__(self, requested: str, handle: PresetHandle, source: PresetSource) -> None:
        self.requested = requested
        self.handle = source.resolve(handle)
        self._source = source
        self.files = source.files(self.handle)
        _check_names(self.handle, self.files)
        self.names = {file.name for file in self.files}

    def fetch(self, name: str) -> Path:
        """Returns the local path of a file of the preset."""
        return self._source.fetch(self.handle, name)

    def config(self) -> dict[str, Any]:
        """Reads the preset's `config.json`.

        Raises:
            PresetNotFoundError: there is none.
            PresetConfigError: it is not a sound JSON object.
        """
        if CONFIG not in self.names:
            raise PresetNotFoundError(self.handle, f"there is no {CONFIG} in it")
        return read_json(self.fetch(CONFIG))


def _check_names(handle: PresetHandle, files: list[PresetFile]) -> None:
    """Files are copied under the names that a source gives them: none may lead out of a folder."""
    for file in files:
        parts = file.name.split("/")
        if _UNSAFE.search(file.name) or any(part in ("", ".", "..") for part in parts):
            problem = f"it lists a file named {file.name!r}, which may lead out of its folder"
            raise PresetConfigError(f"Preset {str(handle)!r}", problem, "Rename the file, or do not use this preset")


def open_folder(preset: str | Path) -> PresetFolder:
    """Finds the preset that an id, a handle or a path means, as the policy plugins allow.

    Raises:
        HandleError: the text cannot be a preset.
        UnknownNameError: no source reads the handle's scheme.
        PresetNotFoundError: nothing is there.
        PresetRefusedError: a policy plugin refused it.
    """
    requested = str(preset)
    handle = _rewrite(_locate(requested, may_be_id=not isinstance(preset, Path)))
    _ask_policies(handle)
    source = _source(handle, requested)
    if handle.revision is not None and not source.supports_revisions:
        raise HandleError(str(handle), f"the source of {handle.scheme}:// has no revisions")
    if handle.path.startswith("/") and not source.supports_absolute_paths:
        raise HandleError(str(handle), f"the path of a {handle.scheme}:// handle must not begin with '/'")
    return PresetFolder(requested, handle, source)


def _locate(text: str, may_be_id: bool) -> PresetHandle:
    if "://" in text and may_be_id:
        return PresetHandle.parse(text)
    if text in presets() and may_be_id:
        return PresetHandle.parse(presets().lookup(text).value[1].handle)
    for entry in catalog(SOURCES):
        handle = _ask_source(entry, text)
        if handle is not None:
            return handle
    known = [entry.name for entry in presets()]
    raise PresetNotFoundError(text, "it is no built-in preset id, no folder and no handle", close_names(text, known))


def _ask_source(entry: Entry[PresetSource], text: str) -> PresetHandle | None:
    try:
        return entry.value.handle_for(text)
    except VertebraError:
        raise
    except Exception as error:  # what one source makes of the text must not keep the others from it
        warnings.warn(
            f"{entry.owner}: handle_for({text!r}) failed ({error}), so this source was left out", stacklevel=5
        )
        return None


def _source(handle: PresetHandle, requested: str) -> PresetSource:
    hint = (
        f"Preset {requested!r} is at {handle}: install a plugin that reads {handle.scheme}:// handles; "
        "those installed are listed by: vertebra sources"
    )
    entry: Entry[PresetSource] = catalog(SOURCES).lookup(handle.scheme, hint)
    return entry.value


def _rewrite(handle: PresetHandle) -> PresetHandle:
    for plugin, rewrite in registry().implementations("vertebra_rewrite_handle"):
        try:
            handle = rewrite(handle=handle) or handle
        except Exception as error:
            raise PluginError(plugin.name, f"vertebra_rewrite_handle failed on {handle} ({error})") from error
        if not isinstance(handle, PresetHandle):
            raise PluginError(plugin.name, f"vertebra_rewrite_handle returned {handle!r}, expected a PresetHandle")
    return handle


def _ask_policies(handle: PresetHandle) -> None:
    for plugin, refuse in registry().implementations("vertebra_refuse_preset"):
        try:
            reason = refuse(handle=handle)
        except Exception as error:  # a policy that is broken must not let everything through
            reason = f"the policy failed ({type(error).__name__}: {error})"
        if reason is not None:
            raise PresetRefusedError(handle, plugin.owner, str(reason))


def config_error(folder: PresetFolder, problem: str, remedy: str = "") -> PresetConfigError:
    """Builds the error for something that is wrong in a preset's `config.json`."""
    return PresetConfigError(f"{CONFIG} of {str(folder.handle)!r}", problem, remedy)
