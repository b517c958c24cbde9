"""The contract of remote sources: what a plugin implements, and the values that it returns.

A plugin subclasses `RemoteSource`: it resolves a handle to a snapshot and reads bytes. Caching, resuming, retrying,
verifying, pinning and working offline are the core's (`vertebra._cache.cached_source`).
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vertebra.errors import ClientMissingError
from vertebra.handles import PresetHandle
from vertebra.interfaces import PresetSource
from vertebra.specs import PresetFile


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One revision of a preset: its pinned handle and its files."""

    handle: PresetHandle
    """A pinned handle: it names an immutable revision."""
    files: Sequence[PresetFile]


@dataclass(frozen=True, slots=True)
class ByteStream:
    """The bytes of a file, or of a range of it, as they arrive; a context manager that ends the transfer."""

    chunks: Iterator[bytes]
    start: int = 0
    """Position of the first byte in the file: 0 if the source sends the whole file whatever the range."""
    total: int | None = None
    """Bytes of the whole file, if the answer says so."""
    etag: str | None = None
    """The service's tag of this content; another tag means that the file has changed."""
    digest: str | None = None
    """Digest of the whole file, if the answer has it; as `PresetFile.digest`."""

    def __enter__(self) -> ByteStream:
        return self

    def __exit__(self, *exception: object) -> None:
        close = getattr(self.chunks, "close", None)
        if close is not None:
            close()


class RemoteSource(PresetSource):
    """A service that presets are downloaded from, and uploaded to; the core wraps it in its cache."""

    is_remote: ClassVar[bool] = True
    supports_revisions: ClassVar[bool] = True
    supports_ranges: ClassVar[bool] = True
    """Whether `read` honours `start` and `stop`; otherwise every transfer is of the whole file."""
    streams: ClassVar[int] = 4
    """How many transfers of one file may run at once; 1 where `supports_ranges` is False."""

    @abstractmethod
    def is_pinned(self, handle: PresetHandle) -> bool: ...

    @abstractmethod
    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        """Asks the service which revision a handle means now, and which files that has.

        Raises:
            PresetNotFoundError: there is no such preset or revision.
            PresetAccessError: the user may not see it.
            SourceUnavailableError: the service does not answer, which may pass.
            ClientMissingError: the client library is not installed.
        """

    @abstractmethod
    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        """Begins to transfer the bytes of a file, from `start` up to and without `stop`.

        Args:
            handle: A pinned handle.
            file: One of the files of its snapshot.
            start: Position of the first byte.
            stop: Position after the last byte, or None for the end of the file.

        Raises:
            as `resolve_snapshot`; the iterator, too, may raise SourceUnavailableError.
        """

    def external_file(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns the path of the file in another program's cache on this machine, such as the client library's."""
        return None

    def external_snapshot(self, handle: PresetHandle) -> Snapshot | None:
        """Returns the files of a preset in another program's cache, which need not be all; uses no network.

        It is used where the network is not, and the cache has no file list of the preset.
        """
        return None


@contextlib.contextmanager
def require_client(source: str, package: str) -> Iterator[None]:
    """Raises an error that names the package to install if an import inside the block fails.

    Args:
        source: What the client library reads, such as a scheme.
        package: Name of the distribution for pip.

    Raises:
        ClientMissingError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ClientMissingError(source, package) from error
