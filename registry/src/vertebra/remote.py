"""Sources that are not on this machine: what a plugin says, and what the core makes of it.

A plugin subclasses `RemoteSource` and says how its service lists a preset's files and gives out their bytes. Caching,
resuming, retrying, checking, pinning and working offline are the core's.
"""

from __future__ import annotations

import contextlib
import email.utils
import math
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vertebra.errors import (
    IntegrityError,
    PresetAccessError,
    PresetError,
    PresetNotFoundError,
    SourceUnavailableError,
)
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
    checks_digests: ClassVar[bool] = True
    reads_parts: ClassVar[bool] = True
    streams: ClassVar[int] = 4
    """How many transfers of one file may run at once."""

    # === What a plugin says ===

    @abstractmethod
    def is_pinned(self, handle: PresetHandle) -> bool:
        """Says whether a handle names an immutable revision; asks nobody."""

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

    # === What the core makes of it ===

    def resolve(self, handle: PresetHandle) -> PresetHandle:
        from vertebra._cache import presets

        return presets.resolve(self, handle)

    def files(self, handle: PresetHandle) -> list[PresetFile]:
        from vertebra._cache import presets

        return presets.files(self, handle)

    def fetch(self, handle: PresetHandle, name: str) -> Path:
        wanted = [file for file in self.files(handle) if file.name == name]
        if not wanted:
            raise PresetNotFoundError(handle, f"there is no file {name!r} in it")
        return self.fetch_all(handle, wanted)[0]

    def read_part(self, handle: PresetHandle, file: PresetFile, start: int, stop: int) -> bytes:
        """Returns bytes of a file, which are not kept, and not compared with its digest."""
        from vertebra._cache import presets

        return presets.read_part(self, handle, file, start, stop)

    def fetch_all(self, handle: PresetHandle, files: Sequence[PresetFile]) -> list[Path]:
        from vertebra._cache import presets

        return presets.fetch(self, handle, files)


# === For services that speak HTTP ===

_TRANSIENT = (408, 425, 429)
_LONGEST_WAIT = 3600.0


def http_content(
    handle: PresetHandle,
    name: str,
    status: int,
    headers: Mapping[str, str],
    chunks: Iterable[bytes],
    digest: str | None,
) -> Content:
    """Reads an answer to a request for a file, or for a range of it.

    Args:
        handle: The preset.
        name: The file.
        status: Of the answer; errors are for `http_error`.
        headers: By lower-case name.
        chunks: The body.
        digest: What the file hashes to, if the service says so in its own way.

    Raises:
        IntegrityError: the body is encoded, so that its bytes are not the file's.
    """
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() not in ("identity", ""):
        raise IntegrityError(handle, name, f"it was sent as {encoding}, and asked for as it is")
    start, total = 0, _number(headers.get("content-length"))
    if status == 206:
        unit, _, place = headers.get("content-range", "").partition(" ")
        places, _, size = place.partition("/")
        first = _number(places.partition("-")[0])
        if unit.lower() != "bytes" or first is None:
            raise SourceUnavailableError(handle, f"it answered for a part of {name} without saying which")
        start, total = first, _number(size)
    return Content(iter(chunks), start, total, headers.get("etag"), digest)


def http_error(handle: PresetHandle, status: int, headers: Mapping[str, str], reason: str = "") -> PresetError:
    """Returns the error that an HTTP status means, for services whose client does not say it better."""
    detail = f"HTTP {status}{f' ({reason})' if reason else ''}"
    if status in _TRANSIENT or status >= 500:
        return SourceUnavailableError(handle, detail, retry_after(headers.get("retry-after")))
    if status in (401, 403):
        return PresetAccessError(handle, detail, "Log in with a token that may read it, or ask its owner for access")
    if status in (404, 410):
        return PresetNotFoundError(handle, f"nothing is there ({detail})")
    return PresetError(f"Preset {str(handle)!r}: the service refused the request with {detail}.")


def retry_after(value: str | None) -> float | None:
    """Returns the seconds that a `Retry-After` header asks to wait: a number, or a date; None if it says neither."""
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_WAIT)
    with contextlib.suppress(TypeError, ValueError):
        return min(max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0), _LONGEST_WAIT)
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isascii() and text.strip().isdigit() else None
