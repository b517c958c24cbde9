"""A preset folder, wherever it is: from what the user wrote to files with local paths."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vertebra._cache.store import key_of
from vertebra._documents import read_json
from vertebra._lockfile import LockedPreset, fetch_locked, locked_preset
from vertebra._presets import finding
from vertebra._presets.beginnings import LengthOf, stand_in
from vertebra._presets.names import problem_with
from vertebra._settings import settings
from vertebra.errors import (
    OfflineError,
    PluginError,
    PresetAccessError,
    PresetConfigError,
    PresetNotFoundError,
    SourceUnavailableError,
    VertebraError,
)
from vertebra.handles import PresetHandle
from vertebra.interfaces import PresetSource
from vertebra.specs import PresetFile

if TYPE_CHECKING:
    from vertebra.remote import RemoteSource

CONFIG = "config.json"
_PERHAPS_ELSEWHERE = (PresetNotFoundError, PresetAccessError, SourceUnavailableError, OfflineError)


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
        self._locked = locked
        with self._blaming():
            self.handle = source.resolve(handle)
            self.files = source.files(self.handle) if locked is None else list(locked.files)
        _check_names(self.handle, self.files)
        self._by_name = {file.name: file for file in self.files}
        self.names = set(self._by_name)
        self._room: Path | None = None

    def is_here(self, name: str) -> bool:
        """Says whether a file of the preset is on this machine already."""
        file = self._by_name[name]
        if self._locked is None:
            return file.path is not None
        from vertebra._cache.places import store

        return not self.source.reads_parts or store().find(self.handle, file) is not None

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
        with self._blaming():
            if self._locked is None:
                return self.source.fetch_all(self.handle, files)
            return fetch_locked(self.source, self.handle, files)

    @contextlib.contextmanager
    def _blaming(self) -> Iterator[None]:
        """Names the source where it raises what no source should."""
        try:
            yield
        except VertebraError:
            raise
        except Exception as error:
            owner = type(self.source).__module__.partition(".")[0]
            problem = f"its source of {self.located.scheme}:// failed ({type(error).__name__}: {error})"
            raise PluginError(owner, problem, "Report it to whoever wrote it") from error

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

    Where it has several places, such as a mirror and what it mirrors, the first that has it is taken.

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
    places = finding.places(preset, entry.handle if entry else None)
    failures: list[VertebraError] = []
    for place in places:
        try:
            return _open(requested, place, entry, alone=len(places) == 1)
        except _PERHAPS_ELSEWHERE as error:
            failures.append(error)
            if place != places[-1] and not isinstance(error, PresetNotFoundError | OfflineError):
                logging.getLogger("vertebra").warning("%s Looking for it at its next place.", error)
    raise _none_of(requested, failures)


def _open(requested: str, place: PresetHandle, entry: LockedPreset | None, alone: bool) -> PresetFolder:
    finding.ask_policies(place)
    folder = PresetFolder(requested, place, finding.source_of(place, requested), entry)
    if entry is not None and not alone:
        folder.source.files(folder.handle)  # what is locked is not looked up, so it may not be there at all
    return folder


def _none_of(requested: str, failures: list[VertebraError]) -> VertebraError:
    """Returns the error for a preset that was found at none of its places: the last one, which tells of the others."""
    if all(isinstance(failure, OfflineError) for failure in failures):
        return failures[0]
    *others, last = failures
    if isinstance(last, PresetNotFoundError) and not last.suggestions and "://" not in requested:
        last = PresetNotFoundError(last.handle, last.problem, finding.suggestions(requested))
    handle = getattr(last, "handle", None)
    plain = finding.is_plain_path(requested)
    if isinstance(handle, PresetHandle) and not plain and not _is_written(handle, requested):
        last.add_note(f"{handle} is where {requested!r} leads to here, by a built-in id or a policy")
    for other in others:
        last.add_note(f"Before that, at another place: {other}")
    return last


def _is_written(handle: PresetHandle, requested: str) -> bool:
    """Says whether a handle is what the user has written, at whichever revision."""
    with contextlib.suppress(VertebraError):
        return finding.unpinned(handle) == finding.unpinned(PresetHandle.parse(requested))
    return False


def config_error(folder: PresetFolder, problem: str, remedy: str = "") -> PresetConfigError:
    """Builds the error for something that is wrong in a preset's `config.json`."""
    return PresetConfigError(f"{CONFIG} of {str(folder.handle)!r}", problem, remedy)
