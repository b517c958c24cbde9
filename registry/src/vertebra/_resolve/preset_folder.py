"""A preset folder, wherever it is: from what the user wrote to files with local paths."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vertebra._cache.cached_source import CachedSource, open_source
from vertebra._cache.layout import key_of
from vertebra._configuration.settings import settings
from vertebra._resolve.candidates import ask_policies, is_revision, source_of
from vertebra._resolve.failover import FAILOVER_ERRORS, Failover
from vertebra._resolve.filenames import problem_with
from vertebra._resolve.header_stub import LengthOf, write_header_stub
from vertebra._resolve.lockfile import LockedPreset, verify_locked
from vertebra._system.file_identity import Identity, identity_at, identity_of
from vertebra._system.strict_json import read_json
from vertebra.errors import (
    HandleError,
    OfflineError,
    PluginError,
    PresetChangedError,
    PresetConfigError,
    PresetError,
    PresetNotFoundError,
    VertebraError,
)
from vertebra.handles import PresetHandle
from vertebra.interfaces import LocalSource
from vertebra.specs import PresetFile

CONFIG = "config.json"


class PresetFolder:
    """The files of one preset, at one revision.

    Args:
        requested: What the user wrote.
        failover: The candidate handles for it, each at whichever revision.
        locked: The lockfile's entry, or None if the preset is not locked.
    """

    def __init__(self, requested: str, failover: Failover, locked: LockedPreset | None = None) -> None:
        self.requested, self._failover, self._locked = requested, failover, locked
        self.located: PresetHandle
        """The candidate that has the preset, at whichever revision."""
        self.handle: PresetHandle
        """The pinned handle of it, where its source has such."""
        failover.next(self._open)
        self.passed_over = list(failover.failures)
        """Why the candidates before this one were not taken."""
        self.names = {file.name for file in self.files}
        self._by_name = {file.name: file for file in self.files}
        self._headers: Path | None = None

    def _open(self, candidate: PresetHandle) -> None:
        self._settle(candidate)
        with self._attribute_errors():
            self.files = list(self._locked.files) if self._locked else self._access.files(self.handle)
            self.is_complete = self._locked is not None or self._lists_all()
        _check_names(self.handle, self.files)

    def _settle(self, candidate: PresetHandle) -> None:
        """Asks the policies and resolves a candidate."""
        ask_policies(candidate)
        self.located, self.source = candidate, source_of(candidate, self.requested)
        self._access = open_source(self.source)
        with self._attribute_errors():
            self.handle = self._access.resolve(candidate)
        if self.handle != candidate:  # a policy may know a revision, and must know a preset behind another name
            ask_policies(self.handle)

    def _lists_all(self) -> bool:
        """Whether `files` are all that the preset has, and not only those of another program's cache."""
        return isinstance(self._access, LocalSource) or self._access.lists_all(self.handle)

    def is_here(self, name: str) -> bool:
        """Says whether a file of the preset is on this machine already."""
        file = self._by_name[name]
        if self._locked is None:
            return file.path is not None
        return isinstance(self._access, LocalSource) or self._access.find(self.handle, file) is not None

    def find(self, name: str) -> Path | None:
        """Returns the local path of a file of the preset that is on this machine, or None; uses no network."""
        file = self._by_name.get(name)
        if file is None:
            return None
        if isinstance(self._access, LocalSource):
            is_here = self._locked is not None or file.path is not None
        else:
            is_here = self._access.find_external(self.handle, file) is not None
        return self.fetch(name) if is_here else None

    def now(self) -> PresetFolder:
        """Returns the folder with the files that it has now; a pinned or locked one does not change."""
        is_local = all(file.path is not None for file in self.files)
        if self.source.is_remote or self._locked is not None or not is_local:
            return self
        return PresetFolder(self.requested, Failover([self.located]))

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
        if missing and not self.is_complete:
            raise self._not_available(*missing)
        if missing:
            raise PresetNotFoundError(self.handle, f"there is no file {missing[0]!r} in it")
        files = [self._by_name[name] for name in names]
        if self._locked is None:
            return self._fetch(files)
        try:
            return self._fetch_locked(files)
        except FAILOVER_ERRORS as error:  # locked files are the same at every candidate
            return self._failover.next(lambda candidate: self._fetch_locked(files, candidate), error)

    def _fetch(self, files: Sequence[PresetFile]) -> list[Path]:
        with self._attribute_errors():
            if isinstance(self._access, LocalSource):
                return [self._access.fetch(self.handle, file.name) for file in files]
            return self._access.fetch_all(self.handle, files)

    def _fetch_locked(self, files: Sequence[PresetFile], candidate: PresetHandle | None = None) -> list[Path]:
        if candidate is not None:
            self._settle(candidate)
        return verify_locked(self.handle, files, partial(self._fetch, files), in_cache=self.source.is_remote)

    def record_locked(self) -> None:
        """Notes in the cache what is locked, as if it had been looked up: so it loads offline without a lockfile."""
        if self._locked is not None and isinstance(self._access, CachedSource):
            self._access.record(self.handle, self.files, self.unpinned())

    def unpinned(self) -> list[PresetHandle]:
        """Returns the handles by which this revision was found, if its own source reads them."""
        found = [self.located]
        with contextlib.suppress(HandleError):
            found.append(PresetHandle.parse(self.requested))
        return [handle for handle in found if handle != self.handle and is_revision(self.handle, handle)]

    def require_complete(self) -> None:
        """Raises OfflineError if it is not known which files the preset has."""
        if not self.is_complete:
            raise self._not_available()

    @contextlib.contextmanager
    def missing_files(self, what: str) -> Iterator[None]:
        """Says that something is missing here, instead of wrong, where not all files are known."""
        try:
            yield
        except PresetError as error:
            if self.is_complete or isinstance(error, OfflineError):
                raise
            raise self._not_available(what) from error

    def _not_available(self, *missing: str) -> OfflineError:
        reason = () if settings().offline else ("its source does not answer",)
        return OfflineError(self.handle, missing, *reason)

    @contextlib.contextmanager
    def _attribute_errors(self) -> Iterator[None]:
        """Names the source where it raises what no source should."""
        try:
            yield
        except VertebraError:
            raise
        except Exception as error:
            owner = type(self.source).__module__.partition(".")[0]
            problem = f"its source of {self.located.scheme}:// failed ({type(error).__name__}: {error})"
            raise PluginError(owner, problem, "Report it to whoever wrote it") from error

    def fetch_headers(self, names: Sequence[str], length_of: LengthOf) -> list[Path]:
        """Returns paths of files with the beginnings of others; what stands here, or cannot be read in parts, is whole.

        They stand as long as this object.

        Args:
            names: The files.
            length_of: From the first bytes of a file to how long its beginning is.
        """
        return [self._beginning(self._by_name[name], length_of) for name in names]

    def _beginning(self, file: PresetFile, length_of: LengthOf) -> Path:
        if file.path is not None or self._locked is not None or isinstance(self._access, LocalSource):
            return self.fetch(file.name)
        if self._headers is None:
            self._headers = Path(tempfile.mkdtemp(prefix="vertebra-"))
            weakref.finalize(self, shutil.rmtree, self._headers, ignore_errors=True)
        target = self._headers / key_of(file.name)
        if target.exists():
            return target
        return write_header_stub(self._access, self.handle, file, length_of, target)

    def config(self) -> dict[str, Any]:
        """Reads the preset's `config.json`.

        Raises:
            PresetNotFoundError: there is none.
            PresetConfigError: it is not a sound JSON object.
            PresetChangedError: it is not the one that was listed.
        """
        if CONFIG not in self.names and self.is_complete:
            raise PresetNotFoundError(self.handle, f"there is no {CONFIG} in it")
        path = self.fetch(CONFIG)
        config = read_json(path)
        self.check_read(CONFIG, identity_of(path.stat()))
        return config

    def check_read(self, name: str, identity: Identity | None) -> None:
        """Compares a file that was read with the one that was listed: all that is read is of one moment then.

        Args:
            name: The file.
            identity: What was read under its name, found once that was done, or None if nothing can replace it.

        Raises:
            PresetChangedError: it is another file, or was written to.
        """
        file = self._by_name[name]
        if file.identity is None or identity is None:
            return
        if identity != file.identity or _was_written_to(file):
            raise PresetChangedError(self.handle, name)

    def changed_at(self, names: Sequence[str]) -> int | None:
        """Returns when the last of some files was changed, in nanoseconds; None where that says nothing of a preset."""
        times = [identity[3] for name in names if (identity := self._by_name[name].identity) is not None]
        return max(times) if len(times) == len(names) else None

    def check_all(self) -> None:
        """Compares all files with what was listed, after they were read by path.

        Raises:
            PresetChangedError: one is another file now, or was written to.
        """
        changed = self.changed_file()
        if changed is not None:
            raise PresetChangedError(self.handle, changed)

    def changed_file(self) -> str | None:
        """Returns the name of a file that is no longer the one that was listed, or None if all are."""
        return next((file.name for file in self.files if not _is_as_listed(file)), None)


def _is_as_listed(file: PresetFile) -> bool:
    return file.identity is None or _identity_now(file) == file.identity


def _was_written_to(file: PresetFile) -> bool:
    """Says whether a file is the one that was listed, with another content: what was mapped of it has changed, too."""
    now = _identity_now(file)
    return now is not None and file.identity is not None and now[:2] == file.identity[:2] and now != file.identity


def _identity_now(file: PresetFile) -> Identity | None:
    return None if file.path is None else identity_at(file.path)


def _check_names(handle: PresetHandle, files: list[PresetFile]) -> None:
    """Files are copied under the names that a source gives them: none may lead out of a folder."""
    problem = problem_with([file.name for file in files])
    if problem:
        raise PresetConfigError(f"Preset {str(handle)!r}", problem, "Rename the file, or do not use this preset")


def config_error(folder: PresetFolder, problem: str, remedy: str = "") -> PresetConfigError:
    """Builds the error for something that is wrong in a preset's `config.json`."""
    return PresetConfigError(f"{CONFIG} of {str(folder.handle)!r}", problem, remedy)
