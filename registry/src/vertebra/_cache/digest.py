"""What contents hash to, computed while they arrive: the cache's own name for them, and what a source promised."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_BLOCK = 2**20


class Digest:
    """The SHA-256 of what has passed, and what a source calls it in another way."""

    def __init__(self, expected: str | None, size: int) -> None:
        """
        Args:
            promised: `PresetFile.digest`.
            size: Bytes of the whole content, which git's way of hashing begins with.
        """
        self.expected, self._size = expected, size
        self._sha256 = hashlib.sha256()
        self._other = _other(expected, size)

    def update(self, *data: bytes) -> None:
        """Takes in what comes next."""
        self.update_own(*data)
        self.update_promised(*data)

    def update_own(self, *data: bytes) -> None:
        """Takes it in as the cache hashes it; the rest is for `update_promised`, in another thread, perhaps."""
        for chunk in data:
            self._sha256.update(chunk)

    def update_promised(self, *data: bytes) -> None:
        """Takes it in as the source hashes it, if that is another way."""
        if self._other is not None:
            for chunk in data:
                self._other.update(chunk)

    def sha256(self) -> str:
        """Returns the SHA-256 of all that has passed."""
        return self._sha256.hexdigest()

    def mismatch(self) -> str | None:
        """Returns how the content differs from what was promised, or None if it does not."""
        if self.expected is None:
            return None
        algorithm, _, expected = self.expected.partition(":")
        found = (self._other or self._sha256).hexdigest()
        if found == expected.lower():
            return None
        return f"its {algorithm} is {found}, expected {expected}"


def digest_of(path: Path, expected: str | None = None, size: int | None = None) -> Digest:
    """Hashes a file.

    Raises:
        OSError: it cannot be read.
    """
    digest = Digest(expected, path.stat().st_size if size is None else size)
    with open(path, "rb", opener=_open_quietly) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest


def _open_quietly(path: str, flags: int) -> int:
    """Opens a file so that it does not count as used: to check a cache is not to use it."""
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # it is somebody else's
        return os.open(path, flags)


def _other(expected: str | None, size: int) -> hashlib._Hash | None:
    algorithm = (expected or "").partition(":")[0]
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    if algorithm == "git":  # git hash-object: the kind and size, then the content
        blob = hashlib.sha1(usedforsecurity=False)
        blob.update(b"blob %d\0" % size)
        return blob
    return None
