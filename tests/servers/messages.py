"""Requests and responses as values, and contents that are sliced without being read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Request:
    """A request, without its body."""

    method: str
    target: str
    """Path and query, as they were sent."""
    headers: Mapping[str, str]
    """By lower-case name; lines of the same name are joined by a comma."""
    body_size: int = 0

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def host(self) -> str:
        return self.headers.get("host", "")


@dataclass(frozen=True)
class FilePart:
    """A part of a file; a slice of it is another one."""

    path: Path
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, wanted: slice) -> "FilePart":
        start, stop, _ = wanted.indices(len(self))
        return FilePart(self.path, self.start + start, self.start + stop)

    def __bytes__(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(len(self))


@dataclass(frozen=True)
class Content:
    """Bytes in memory and in files, one part after the other; sliced and joined like bytes, and read by `bytes`."""

    parts: tuple[memoryview | FilePart, ...] = ()

    @classmethod
    def of(cls, source: "bytes | Path | Content") -> "Content":
        if isinstance(source, Content):
            return source
        if isinstance(source, Path):
            return cls((FilePart(source, 0, source.stat().st_size),))
        return cls((memoryview(source),))

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __add__(self, other: "Content") -> "Content":
        return Content(self.parts + other.parts)

    def __getitem__(self, wanted: slice) -> "Content":
        start, stop, _ = wanted.indices(len(self))
        parts, position = [], 0
        for part in self.parts:
            first, last = max(start - position, 0), min(stop - position, len(part))
            if first < last:
                parts.append(part[first:last])
            position += len(part)
        return Content(tuple(parts))

    def __bytes__(self) -> bytes:
        return b"".join(map(bytes, self.parts))

    def replaced(self, offset: int, replacement: bytes) -> "Content":
        """Returns the same content with other bytes from an offset on."""
        return self[:offset] + Content.of(replacement) + self[offset + len(replacement) :]


Position = int | float
"""A place in a body: a number of bytes, from the end if it is negative, or, as a float, a share of the body."""


@dataclass(frozen=True)
class Transfer:
    """How a response goes over the connection; every default is what a sound server does."""

    answered: bool = True
    """Whether anything is sent at all, before the connection ends."""
    chunked: bool = False
    length_lie: int = 0
    """What is added to the true Content-Length; the connection ends after such a body."""
    end: Position | None = None
    """Where in the body the connection ends."""
    reset: bool = False
    """Whether it ends by a reset."""
    stall_at: Position | None = None
    """Where in the body the server pauses; before the whole response if there are seconds and no place."""
    stall_seconds: float = 0
    rate: float | None = None
    """Bytes per second."""


@dataclass(frozen=True)
class Response:
    """An answer: routes return it, faults make others of it, and the server sends it."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: Content = field(default_factory=Content)
    file: str | None = None
    """Name of the file that is the content: file faults look at it, and requests for a range of it are answered."""
    accepts_ranges: bool = True
    range_shift: int = 0
    """How many bytes too late the range is that is sent."""
    range_lie: bool = False
    """Whether a shifted range is declared as the one that was asked for."""
    transfer: Transfer = field(default_factory=Transfer)

    @classmethod
    def json(cls, document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        content = Content.of(json.dumps(document).encode())
        return cls(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, content)

    @classmethod
    def of_file(cls, name: str, source: bytes | Path | Content, headers: Mapping[str, str] | None = None) -> Self:
        return cls(200, {"Content-Type": "application/octet-stream", **(headers or {})}, Content.of(source), name)

    @classmethod
    def redirect(cls, location: str, status: int = 302, headers: Mapping[str, str] | None = None) -> Self:
        return cls(status, {"Location": location, **(headers or {})})

    def with_headers(self, **headers: str) -> Self:
        """Returns the response with more headers; an underscore in a name is a hyphen."""
        return replace(self, headers={**self.headers, **{n.replace("_", "-"): text for n, text in headers.items()}})

    def sent(self, **transfer: Any) -> Self:
        """Returns the response with another way of going over the connection: fields of `Transfer`."""
        return replace(self, transfer=replace(self.transfer, **transfer))


class Refused(Exception):  # noqa: N818  it is an answer, and no error of the server
    """Raised by a route whose answer is this response."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response
