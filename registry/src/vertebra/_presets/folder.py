"""A preset folder, wherever it is: from what the user wrote to files with local paths."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vertebra._cache.store import key_of
from vertebra._catalog import SOURCES, Entry, catalog, presets
from vertebra._documents import read_json
from vertebra._lockfile import LockedPreset, fetch_locked, locked_preset
from vertebra._plugins import registry
from vertebra._presets.beginnings import LengthOf, stand_in
from vertebra._presets.names import problem_with
from vertebra._settings import settings
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
from vertebra.specs import PresetFile, PresetSpec

if TYPE_CHECKING:
    from vertebra.remote import RemoteSource

CONFIG = "config.json"


class PresetFolder:
    """The files of one preset, at one revision.

    Args:
        requested: What the user wrote.
        handle: Where that is, at whichever revision.
        source: What reads it.
        locked: What the lockfile says that it is, or None if nothing does.
    """

    def __init__(
        self, requested: str, handle: PresetHandle, source: PresetSource, locked: LockedPreset | None = None
    ) -> None:
        self.requested, self.located, self.source = requested, handle, source
        self.handle = source.resolve(handle)
        self._locked = locked
        self.files = source.files(self.handle) if locked is None else list(locked.files)
        _check_names(self.handle, self.files)
        self._by_name = {file.name: file for file in self.files}
        self.names = set(self._by_name)
        self._room: Path | None = None

    def fetch(self, name: str) -> Path:
        """Returns the local path of a file of the preset."""
        return self.fetch_all([name])[0]

    def fetch_all(self, names: Sequence[str]) -> list[Path]:
        """Returns the local paths of several files, which may be fetched at once.

        Raises:
            PresetNotFoundError: there is no such file.
            LockError: one is not what the lockfile says.
        """
        missing = [name for name in names if name not in self._by_name]
        if missing:
            raise PresetNotFoundError(self.handle, f"there is no file {missing[0]!r} in it")
        files = [self._by_name[name] for name in names]
        if self._locked is None:
            return self.source.fetch_all(self.handle, files)
        return fetch_locked(self.source, self.handle, files)

    def fetch_beginnings(self, names: Sequence[str], length_of: LengthOf) -> list[Path]:
        """Returns paths of files with the beginnings of others; what stands here, or cannot be read in parts, is whole.

        They stand as long as this object.

        Args:
            names: The files.
            length_of: From the first bytes of a file to how long its beginning is.
        """
        return [self._beginning(self._by_name[name], length_of) for name in names]

    def _beginning(self, file: PresetFile, length_of: LengthOf) -> Path:
        if file.path is not None or self._locked is not None or not self.source.reads_parts:
            return self.fetch(file.name)
        if self._room is None:
            self._room = Path(tempfile.mkdtemp(prefix="vertebra-"))
            weakref.finalize(self, shutil.rmtree, self._room, ignore_errors=True)
        target = self._room / key_of(file.name)
        if target.exists():
            return target
        return stand_in(cast("RemoteSource", self.source), self.handle, file, length_of, target)

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
    problem = problem_with([file.name for file in files])
    if problem:
        raise PresetConfigError(f"Preset {str(handle)!r}", problem, "Rename the file, or do not use this preset")


def open_folder(preset: str | Path, locked: bool | None = None) -> PresetFolder:
    """Finds the preset that an id, a handle or a path means, as the policy plugins allow.

    Args:
        preset: What the user wrote.
        locked: Whether it must be what the lockfile says; None means as the user's settings say.

    Raises:
        LockError: the lockfile does not have it.
        HandleError: the text cannot be a preset.
        UnknownNameError: no source reads the handle's scheme.
        PresetNotFoundError: nothing is there.
        PresetRefusedError: a policy plugin refused it.
    """
    requested = str(preset)
    entry = locked_preset(requested) if (settings().locked if locked is None else locked) else None
    handle = locate(preset, entry.handle if entry else None)
    return PresetFolder(requested, handle, source_of(handle, requested), entry)


def locate(preset: str | Path, known: PresetHandle | None = None) -> PresetHandle:
    """Returns the handle that an id, a handle or a path means, as the policy plugins rewrite and allow it.

    Args:
        preset: What the user wrote.
        known: The handle that it means before the policies, or None to find it.
    """
    handle = _rewrite(known or _locate(str(preset), may_be_id=not isinstance(preset, Path)))
    ask_policies(handle)
    return handle


def is_plain_path(text: str) -> bool:
    """Says whether a text is neither a handle nor a built-in id, so that it means something on this machine only."""
    return "://" not in text and text not in presets()


def target(place: str | Path) -> PresetHandle:
    """Returns the handle of a place that a preset is to be uploaded to, which the policies allow and do not rewrite.

    Raises:
        HandleError: the text is no such place.
        PresetRefusedError: a policy plugin refused it.
    """
    text = str(place)
    if isinstance(place, str) and "://" in text:
        handle = PresetHandle.parse(text)
    elif isinstance(place, str) and text in presets():
        raise HandleError(text, "it is a built-in preset id, and presets are uploaded to a place")
    else:
        try:
            handle = _locate(text, may_be_id=False)
        except PresetNotFoundError as error:
            raise HandleError(text, "it is no place that presets can be uploaded to") from error
    ask_policies(handle)
    return handle


def source_of(handle: PresetHandle, requested: str) -> PresetSource:
    """Returns the source that reads a handle.

    Raises:
        UnknownNameError: none is installed.
        HandleError: the handle has what the source does not take.
    """
    hint = (
        f"Preset {requested!r} is at {handle}: install a plugin that reads {handle.scheme}:// handles; "
        "those installed are listed by: vertebra sources"
    )
    entry: Entry[PresetSource] = catalog(SOURCES).lookup(handle.scheme, hint)
    if handle.revision is not None and not entry.value.supports_revisions:
        raise HandleError(str(handle), f"{handle.scheme}:// handles have no '@revision'")
    if handle.path.startswith("/") and not entry.value.supports_absolute_paths:
        raise HandleError(str(handle), f"the path of a {handle.scheme}:// handle must not begin with '/'")
    return entry.value


def _locate(text: str, may_be_id: bool) -> PresetHandle:
    if "://" in text and may_be_id:
        return PresetHandle.parse(text)
    if text in presets() and may_be_id:
        return _preferred(presets().lookup(text).value[1])
    for entry in catalog(SOURCES):
        handle = _ask_source(entry, text)
        if handle is not None:
            return handle
    known = [entry.name for entry in presets()]
    raise PresetNotFoundError(text, "it is no built-in preset id, no folder and no handle", close_names(text, known))


def _preferred(preset: PresetSpec) -> PresetHandle:
    """Returns the first of a built-in preset's places that an installed source reads, or else its own."""
    handles = [PresetHandle.parse(text) for text in (preset.handle, *preset.copies)]
    installed = {entry.name for entry in catalog(SOURCES)}
    return next((handle for handle in handles if {handle.scheme} & installed), handles[0])


def _ask_source(entry: Entry[PresetSource], text: str) -> PresetHandle | None:
    try:
        return entry.value.handle_for(text)
    except VertebraError:
        raise
    except Exception as error:  # what one source makes of the text must not keep the others from it
        warnings.warn(
            f"{entry.owner}: handle_for({text!r}) failed ({error}), so this source was left out", stacklevel=6
        )
        return None


def _rewrite(handle: PresetHandle) -> PresetHandle:
    for plugin, rewrite in registry().implementations("vertebra_rewrite_handle"):
        try:
            handle = rewrite(handle=handle) or handle
        except Exception as error:
            raise PluginError(plugin.name, f"vertebra_rewrite_handle failed on {handle} ({error})") from error
        if not isinstance(handle, PresetHandle):
            raise PluginError(plugin.name, f"vertebra_rewrite_handle returned {handle!r}, expected a PresetHandle")
    return handle


def ask_policies(handle: PresetHandle) -> None:
    """Raises PresetRefusedError if a policy plugin refuses a handle."""
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
