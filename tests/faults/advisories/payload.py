"""`Payload`: harmless files in the form of those of an advisory, and the operations that read them."""

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vertebra.errors import VertebraError

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"
SECRET = b"one\ntwo\nsecret\n"


@dataclass
class Site:
    """The surroundings of a payload.

    Args:
        folder: An empty folder, for the files of the payload.
        flag: The file that a payload would write if its code ran; it is in the working folder.
        outside: A folder out of the watched one, with a file `secret.txt`.
        presets: Sound presets by name, to be copied: those of `GOLDEN`, and `native` if there is a framework.
        other_port: The port of a server on this machine that no operation may ask.
    """

    folder: Path
    flag: Path
    outside: Path
    presets: dict[str, Path]
    other_port: int
    ports: set[int] = field(default_factory=set)
    """The ports of this machine that operations may ask."""

    @property
    def secret(self) -> Path:
        return self.outside / "secret.txt"

    @property
    def url(self) -> str:
        """A URL that no operation may ask."""
        return f"http://127.0.0.1:{self.other_port}/payload"

    def up(self, path: Path, start: Path | None = None) -> str:
        """Returns the relative path to a file from the payload's folder, or another one."""
        return os.path.relpath(path, start or self.folder)


Operations = Sequence[Callable[[], object]]


@dataclass(frozen=True)
class Payload:
    """A payload.

    Args:
        name: The field or file, and its form.
        write: Writes the files, and returns operations that read them; the outcome of the first is compared.
        ignored: Whether the first operation succeeds without the hostile part; else an error refuses it.
        refusals: The errors that refuse it.
        keras: Whether it needs a framework.
        needs: Packages that may not be installed.
        serves: Whether `write` takes an `ExitStack`, too, for servers that run until the operations have ended.
    """

    name: str
    write: Callable[..., Operations]
    ignored: bool = False
    refusals: tuple[type[Exception], ...] = (VertebraError,)
    keras: bool = True
    needs: tuple[str, ...] = ()
    serves: bool = False


class Unopened:
    """Sees each opening, reading and changing of the files of a folder, by other processes and C libraries, too."""

    _EVENTS = (
        0x1 | 0x2 | 0x4 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200
    )  # access, modify, attributes, open, move, make, remove
    _NONBLOCKING = 0o4000

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        if self._libc is not None:
            self._fd = self._libc.inotify_init1(self._NONBLOCKING)
            assert self._libc.inotify_add_watch(self._fd, os.fsencode(folder), self._EVENTS) >= 0

    def events(self) -> list[tuple[str, int]]:
        """Returns the files with the kinds of events since the last call; on Linux only."""
        if self._libc is None:
            return []
        try:
            data = os.read(self._fd, 2**16)
        except BlockingIOError:
            return []
        found, start = [], 0
        while start < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, start)
            name = data[start + 16 : start + 16 + length].rstrip(b"\0").decode()
            found, start = [*found, (name, mask)], start + 16 + length
        return found

    def close(self) -> None:
        if self._libc is not None:
            os.close(self._fd)


@contextmanager
def unopened(folder: Path) -> Iterator[Unopened]:
    """Watches a folder until the context ends."""
    watched = Unopened(folder)
    try:
        yield watched
    finally:
        watched.close()
