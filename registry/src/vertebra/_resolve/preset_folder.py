"""`PresetFolder`: the files of a preset of any source, with local paths."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from vertebra._cache.cached_source import CachedSource, open_source
from vertebra._cache.layout import key_of
from vertebra._configuration.settings import settings
from vertebra._resolve.candidates import ask_policies, is_revision, source_of
from vertebra._resolve.failover import FAILOVER_ERRORS, Failover
from vertebra._resolve.filenames import shown
from vertebra._resolve.header_stub import LengthOf, write_header_stub
from vertebra._resolve.listed_identity import changed_file, was_written_to
from vertebra._resolve.listing import named_file, only, unusable
from vertebra._resolve.lockfile import LockedPreset, list_files, verify_locked
from vertebra._resolve.signatures import signed_preset
from vertebra._system.file_identity import Identity, identity_of
from vertebra._system.foreign_json import ForeignDocument, read_foreign_json
from vertebra._weights.single_file import SingleFileKind
from vertebra.errors import (
    HandleError,
    OfflineError,
    PluginError,
    PresetChangedError,
    PresetConfigError,
    PresetError,
    PresetNotFoundError,
    SignatureError,
    VertebraError,
    exception_text,
)
from vertebra.file_names import CONFIG
from vertebra.handles import PresetHandle
from vertebra.interfaces import LocalSource
from vertebra.specs import PresetFile


class PresetFolder:
    """The files of one preset at one revision.

    Args:
        requested: The id, handle or path that the user wrote.
        failover: The candidate handles for the preset.
        locked: The lockfile's entry, or None if the preset is not locked.
        keys: The keys of which one must have signed the preset, or none if it needs no signature.
    """

    single_file: SingleFileKind | None = None
    """The kind of the one file that is the whole preset, if it is in a format of such files; see `unpacked`."""

    def __init__(
        self, requested: str, failover: Failover, locked: LockedPreset | None = None, keys: Sequence[Path] = ()
    ) -> None:
        self.requested, self._failover, self._locked, self._keys = requested, failover, locked, keys
        self.located: PresetHandle
        """The candidate that has the preset, pinned or not."""
        self.handle: PresetHandle
        """Its pinned handle; the same handle if the source has no revisions."""
        self.left_out: dict[str, str]
        """Listed files that are not used, each with the reason: their names are unsafe, or they cannot be read."""
        failover.next(self._open)
        self.skipped = list(failover.failures)
        """The failures of the candidates that were tried before this one."""
        self.names = {file.name for file in self.files}
        self.listed_names = self.names | self.left_out.keys()
        """Names of the files that are used and of those that are left out: fetching one of the latter is an error."""
        self._by_name = {file.name: file for file in self.files}
        self._headers: Path | None = None

    def _open(self, candidate: PresetHandle) -> None:
        named = self._named(candidate)
        try:
            self._list(candidate) if named is None else self._list(*named)
        except (PresetNotFoundError, HandleError) as error:
            if named is None:
                raise
            with contextlib.suppress(PresetNotFoundError, HandleError):  # a folder may have such a name, too
                return self._list(candidate)
            raise error from None

    def _named(self, candidate: PresetHandle) -> tuple[PresetHandle, str] | None:
        """Returns the folder and the name of a file that is a whole preset, if a remote handle names one."""
        return named_file(candidate) if source_of(candidate, self.requested).is_remote else None

    def _list(self, candidate: PresetHandle, name: str | None = None) -> None:
        self._resolve(candidate)
        with self._attribute_errors():
            listed = list_files(self._access, self.handle, self._locked)
            self.is_complete = self._locked is not None or self._lists_all()
        if self._keys:
            self._locked = self._signed(listed)
            listed = list(self._locked.files)
        listed = listed if name is None else only(name, listed, self.handle)
        self.left_out = unusable(self.handle, listed)
        self.files = [file for file in listed if shown(file.name) not in self.left_out]

    def _signed(self, listed: Sequence[PresetFile]) -> LockedPreset:
        """Verifies the signature, and returns the files with their signed digests."""
        if not self.is_complete:
            raise self._not_available()
        try:
            return signed_preset(self.handle, listed, self._keys, lambda file: self._fetch([file])[0], self._locked)
        except SignatureError:
            if changed := changed_file(listed):  # another version, with another signature, has just replaced it
                raise PresetChangedError(self.handle, changed) from None
            raise

    def _resolve(self, candidate: PresetHandle) -> None:
        """Asks the policies for permission, and resolves a candidate to its pinned handle."""
        ask_policies(candidate)
        self.located, self.source = candidate, source_of(candidate, self.requested)
        self._access = open_source(self.source)
        with self._attribute_errors():
            self.handle = self._access.resolve(candidate)
        if self.handle != candidate:  # a policy may refuse a revision, or a preset under another name
            ask_policies(self.handle)

    def _lists_all(self) -> bool:
        """Returns whether `files` are all files of the preset, and not only those of another program's cache."""
        return isinstance(self._access, LocalSource) or self._access.lists_all(self.handle)

    @property
    def is_signed(self) -> bool:
        """Whether a signature by a trusted key was required, and verified."""
        return bool(self._keys)

    @property
    def locked_plugins(self) -> Mapping[str, str] | None:
        """Versions of the distributions that read the preset when it was locked; None if it is not locked."""
        return None if self._locked is None or self._locked.is_signed else self._locked.plugins

    @property
    def is_file(self) -> bool:
        """Whether the path leads to a single file, as that of an adapter may, instead of a folder."""
        return len(self.files) == 1 and str(self.files[0].path) == self.handle.path

    def is_local(self, name: str) -> bool:
        """Returns whether a file of the preset is on this machine already."""
        file = self._by_name[name]
        if self._locked is None:
            return file.path is not None
        return isinstance(self._access, LocalSource) or self._access.find(self.handle, file) is not None

    @property
    def has_header_stubs(self) -> bool:
        """Whether headers of files that are not local can be read alone; locked files are fetched to be verified."""
        return self._locked is None and not isinstance(self._access, LocalSource)

    def find(self, name: str) -> Path | None:
        """Returns the local path of a file of the preset, or None if it is not on this machine; uses no network."""
        file = self._by_name.get(name)
        if file is None:
            return None
        if isinstance(self._access, LocalSource):
            is_local = self._locked is not None or file.path is not None
        else:
            is_local = self._access.find_external(self.handle, file) is not None
        return self.fetch(name) if is_local else None

    def relisted(self) -> PresetFolder:
        """Returns the folder with its present file list; a pinned or locked preset does not change."""
        in_place = all(file.path is not None for file in self.files)
        if self.source.is_remote or self._locked is not None or not in_place:
            return self
        return PresetFolder(self.requested, Failover([self.located]))

    def fetch(self, name: str) -> Path:
        """Returns the local path of a file of the preset."""
        return self.fetch_all([name])[0]

    def fetch_all(self, names: Sequence[str]) -> list[Path]:
        """Returns the local paths of several files; missing ones may be downloaded at once.

        Raises:
            PresetNotFoundError: the preset has no such file, or the file is left out.
            LockError: a file differs from the lockfile; SignatureError if it differs from its signature.
        """
        files = self._listed(names)
        if self._locked is None:
            return self._fetch(files)
        try:
            return self._fetch_locked(files)
        except FAILOVER_ERRORS as error:  # locked files are the same at every candidate
            return self._failover.next(lambda candidate: self._fetch_locked(files, candidate), error)

    def _listed(self, names: Sequence[str]) -> list[PresetFile]:
        missing = [name for name in names if name not in self._by_name]
        for name in missing:
            if name in self.left_out:
                remedy = "Restore or rename the file, or use another copy of the preset"
                raise PresetNotFoundError(self.handle, f"its file {name!r} {self.left_out[name]}", remedy=remedy)
        if missing and not self.is_complete:
            raise self._not_available(*missing)
        if missing:
            raise PresetNotFoundError(self.handle, f"it has no file {missing[0]!r}")
        return [self._by_name[name] for name in names]

    def _fetch(self, files: Sequence[PresetFile]) -> list[Path]:
        with self._attribute_errors():
            if isinstance(self._access, LocalSource):
                return [self._access.fetch(self.handle, file.name) for file in files]
            return self._access.fetch_all(self.handle, files)

    def _fetch_locked(self, files: Sequence[PresetFile], candidate: PresetHandle | None = None) -> list[Path]:
        if candidate is not None:
            self._resolve((self._named(candidate) or (candidate,))[0])
        is_signed, fetch = bool(self._locked and self._locked.is_signed), partial(self._fetch, files)
        return verify_locked(self.handle, files, fetch, in_cache=self.source.is_remote, is_signed=is_signed)

    def record_locked(self) -> None:
        """Adds the locked file list and refs to the cache, so that the preset loads offline without a lockfile, too."""
        if self._locked and not self._locked.is_signed and isinstance(self._access, CachedSource):
            self._access.record(self.handle, self.files, self.unpinned())

    def unpinned(self) -> list[PresetHandle]:
        """Returns the unpinned handles that led to this revision, if they are of the same source."""
        handles = [self.located]
        with contextlib.suppress(HandleError):
            handles.append(PresetHandle.parse(self.requested))
        return [handle for handle in handles if handle != self.handle and is_revision(self.handle, handle)]

    def require_complete(self) -> None:
        """Raises OfflineError if the file list of the preset is not complete."""
        if not self.is_complete:
            raise self._not_available()

    @contextlib.contextmanager
    def missing_files(self, description: str) -> Iterator[None]:
        """Raises errors as OfflineError if the file list is incomplete: the file may exist but be unknown."""
        try:
            yield
        except PresetError as error:
            if self.is_complete or isinstance(error, OfflineError):
                raise
            raise self._not_available(description) from error

    def _not_available(self, *missing: str) -> OfflineError:
        reason = () if settings().offline else ("its source does not answer",)
        return OfflineError(self.handle, missing, *reason)

    @contextlib.contextmanager
    def _attribute_errors(self) -> Iterator[None]:
        """Raises unexpected exceptions of a source as PluginError."""
        try:
            yield
        except VertebraError:
            raise
        except Exception as error:
            owner = type(self.source).__module__.partition(".")[0]
            problem = f"its source of {self.located.scheme}:// failed ({exception_text(error)})"
            raise PluginError(owner, problem, "Report the error to the authors of the plugin") from error

    def fetch_headers(self, names: Sequence[str], length_of: LengthOf) -> list[Path]:
        """Returns the paths of header stubs; local files, and files whose source has no ranges, are returned whole.

        The stubs exist as long as this object.

        Args:
            names: The files.
            length_of: Function from the first bytes of a file to the length of its header in bytes.
        """
        return [self._header_stub(file, length_of) for file in self._listed(names)]

    def _header_stub(self, file: PresetFile, length_of: LengthOf) -> Path:
        if file.path is not None or self._locked is not None or isinstance(self._access, LocalSource):
            return self.fetch(file.name)
        if self._headers is None:
            self._headers = Path(tempfile.mkdtemp(prefix="vertebra-"))
            weakref.finalize(self, shutil.rmtree, self._headers, ignore_errors=True)
        target = self._headers / key_of(file.name)
        if target.exists():
            return target
        return write_header_stub(self._access, self.handle, file, length_of, target)

    def config(self) -> ForeignDocument:
        """Reads the preset's `config.json`, which may be in the format of another library.

        Raises:
            PresetNotFoundError: the preset has no `config.json`, or it is not a regular file.
            PresetConfigError: the file is not a JSON object.
            PresetChangedError: the file was replaced after the listing.
        """
        if CONFIG not in self.listed_names and self.is_complete:
            raise PresetNotFoundError(self.handle, f"it has no {CONFIG}")
        return self.json(CONFIG)

    def json(self, name: str) -> ForeignDocument:
        """Reads a JSON object from a file of the preset, which may be in the format of another library.

        Raises:
            PresetNotFoundError: the preset has no such file, or it is not a regular file.
            PresetConfigError: the file is not a JSON object.
            PresetChangedError: the file was replaced after the listing.
        """
        path = self.fetch(name)
        document = read_foreign_json(path)
        self.check_read(name, identity_of(path.stat()))
        return document

    def check_read(self, name: str, identity: Identity | None) -> None:
        """Compares a file that was read with its listing, so that all files that are read are of one moment.

        Args:
            name: Name of the file.
            identity: Identity of the file, taken after the read, or None if the file cannot be replaced.

        Raises:
            PresetChangedError: the file was replaced or written to.
        """
        file = self._by_name[name]
        if file.identity is None or identity is None:
            return
        if identity != file.identity or was_written_to(file):
            raise PresetChangedError(self.handle, name)

    def changed_at(self, names: Sequence[str]) -> int | None:
        """Returns the latest modification time of some files in nanoseconds, or None if a file has none."""
        times = [identity[3] for name in names if (identity := self._by_name[name].identity) is not None]
        return max(times) if len(times) == len(names) else None

    def check_all(self) -> None:
        """Compares all files with their listing, after they were read by path.

        Raises:
            PresetChangedError: a file was replaced or written to.
        """
        changed = self.changed_file()
        if changed is not None:
            raise PresetChangedError(self.handle, changed)

    def changed_file(self) -> str | None:
        """Returns the name of a file that changed since the listing, or None if there is none."""
        return changed_file(self.files)


def config_error(folder: PresetFolder, problem: str, remedy: str = "") -> PresetConfigError:
    """Returns the error for a problem in a preset's `config.json`."""
    return PresetConfigError(origin_of(folder), problem, remedy)


def origin_of(folder: PresetFolder) -> str:
    """Returns the words for a preset's `config.json` in messages."""
    return f"{CONFIG} of {str(folder.handle)!r}"
