"""Sources that are not on this machine: what a plugin says, and what the core makes of it.

A plugin subclasses `RemoteSource` and says how its service lists a preset's files and gives out their bytes. Caching,
resuming, retrying, checking, pinning and working offline are the core's.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vertebra.errors import ClientMissingError, PresetNotFoundError
from vertebra.handles import PresetHandle
from vertebra.interfaces import PresetSource
from vertebra.specs import PresetFile


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a preset is at one moment."""

    handle: PresetHandle
    """A handle of just this: it names an immutable revision."""
    files: Sequence[PresetFile]


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file, or a part of them, as they arrive; a context manager that ends the transfer."""

    chunks: Iterator[bytes]
    start: int = 0
    """Position of the first byte in the file: 0 if the source gives the whole file whatever it was asked for."""
    total: int | None = None
    """Bytes of the whole file, if the answer says so."""
    tag: str | None = None
    """What the service calls this content; another one means that the file has changed."""
    digest: str | None = None
    """What the whole file hashes to, if the answer says so; as `PresetFile.digest`."""

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *exception: object) -> None:
        close = getattr(self.chunks, "close", None)
        if close is not None:
            close()


class RemoteSource(PresetSource):
    """A place elsewhere that presets are downloaded from, and uploaded to."""

    supports_revisions: ClassVar[bool] = True
    reads_parts: ClassVar[bool] = True
    streams: ClassVar[int] = 4
    """How many transfers of one file may run at once."""

    # === What a plugin says ===

    @abstractmethod
    def is_pinned(self, handle: PresetHandle) -> bool:
        """Says whether a handle names an immutable revision; asks nobody."""

    def unpinned(self, handle: PresetHandle) -> PresetHandle:
        """Returns the handle of the same preset at whichever revision."""
        return handle.without_revision()

    @abstractmethod
    def look_up(self, handle: PresetHandle) -> Snapshot:
        """Asks the service what a handle means now.

        Raises:
            PresetNotFoundError: there is no such preset or revision.
            PresetAccessError: the user may not see it.
            SourceUnavailableError: the service does not answer, which may pass.
            ClientMissingError: the client library is not installed.
        """

    @abstractmethod
    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> Content:
        """Begins to transfer the bytes of a file, from `start` up to and without `stop`.

        Args:
            handle: A pinned handle.
            file: One of the files of its snapshot.
            start: Position of the first byte.
            stop: Position after the last one, or None for the end.

        Raises:
            as `look_up`; the iterator, too, may raise SourceUnavailableError.
        """

    def existing(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns where another program keeps the file on this machine, such as in a cache of the service's client."""
        return None

    def remembered(self, handle: PresetHandle) -> Snapshot | None:
        """Returns what another program on this machine knows of a preset, which need not be all of it; asks nobody.

        It counts where the network cannot be used, and nothing is known from before.
        """
        return None

    # === What the core makes of it ===

    def resolve(self, handle: PresetHandle) -> PresetHandle:
        from vertebra._cache import cached_source

        return cached_source.resolve(self, handle)

    def files(self, handle: PresetHandle) -> list[PresetFile]:
        from vertebra._cache import cached_source

        return cached_source.files(self, handle)

    def lists_all(self, handle: PresetHandle) -> bool:
        """Says whether `files` names all files of a pinned preset, or those that another program has (`remembered`)."""
        from vertebra._cache import cached_source

        return cached_source.lists_all(handle)

    def fetch(self, handle: PresetHandle, name: str) -> Path:
        wanted = [file for file in self.files(handle) if file.name == name]
        if not wanted:
            raise PresetNotFoundError(handle, f"there is no file {name!r} in it")
        return self.fetch_all(handle, wanted)[0]

    def read_part(self, handle: PresetHandle, file: PresetFile, start: int, stop: int) -> bytes:
        """Returns bytes of a file, which are not kept, and not compared with its digest."""
        from vertebra._cache import cached_source

        return cached_source.read_part(self, handle, file, start, stop)

    def fetch_all(self, handle: PresetHandle, files: Sequence[PresetFile]) -> list[Path]:
        from vertebra._cache import cached_source

        return cached_source.fetch(self, handle, files)


@contextlib.contextmanager
def client_needed(source: str, package: str) -> Iterator[None]:
    """Says what to install if the client library, which is imported inside, is not there.

    Args:
        source: What is read with it, such as a scheme.
        package: Its name for pip.

    Raises:
        ClientMissingError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ClientMissingError(source, package) from error
