"""The interface of remote sources: the methods that a plugin implements, and the values that they return.

A plugin subclasses `RemoteSource`: it resolves a handle to a snapshot and reads bytes. The core does the caching,
resuming, retrying, verifying, pinning and offline work (`vertebra._cache.cached_source`).
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
    """The file list of one revision of a preset."""

    handle: PresetHandle
    """The pinned handle, which names an immutable revision."""
    files: Sequence[PresetFile]


@dataclass(frozen=True, slots=True)
class ByteStream:
    """The bytes of a file, or of a range of it, as they arrive; a context manager that ends the transfer."""

    chunks: Iterator[bytes]
    start: int = 0
    """Position of the first byte in the file: 0 if the source always sends the whole file."""
    total: int | None = None
    """Bytes of the whole file, or None if the response does not say."""
    etag: str | None = None
    """The service's version tag of the file; a different tag means that the file has changed."""
    digest: str | None = None
    """Digest of the whole file in the form of `PresetFile.digest`, or None if the response has none."""

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
    """Whether `read` supports `start` and `stop`; otherwise every download is of the whole file."""
    streams: ClassVar[int] = 4
    """The most simultaneous range downloads of one file; without ranges there is one stream, whatever this says."""

    @abstractmethod
    def is_pinned(self, handle: PresetHandle) -> bool: ...

    @abstractmethod
    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        """Asks the service for the current revision of a handle, and for its file list.

        Raises:
            PresetNotFoundError: there is no such preset or revision.
            PresetAccessError: the user may not read the preset.
            SourceUnavailableError: the service does not answer; the core retries.
            ClientMissingError: the client library is not installed.
        """

    @abstractmethod
    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        """Starts the download of a file's bytes, from `start` up to but without `stop`.

        Args:
            handle: A pinned handle.
            file: One of the files of its snapshot.
            start: Position of the first byte.
            stop: Position after the last byte, or None for the end of the file.

        Raises:
            PresetError: as for `resolve_snapshot`; the iterator may raise SourceUnavailableError, too.
        """

    def external_file(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns the path of a file in another program's cache on this machine, such as the client's, or None."""
        return None

    def external_snapshot(self, handle: PresetHandle) -> Snapshot | None:
        """Returns a snapshot from another program's cache, whose file list may be incomplete, or None; uses no network.

        It is used offline if the cache has no file list of the preset. A file without a digest needs its `path`.
        """
        return None

    def external_revisions(self, handle: PresetHandle) -> Sequence[PresetHandle]:
        """Returns the pinned handles of a preset that another program's cache has, for messages; uses no network."""
        return ()


@contextlib.contextmanager
def require_client(source: str, package: str) -> Iterator[None]:
    """Raises an error with the package to install if an import inside the block fails.

    Args:
        source: The presets that the client library reads, such as a scheme.
        package: Name of the distribution for pip.

    Raises:
        ClientMissingError: the package is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ClientMissingError(source, package) from error
