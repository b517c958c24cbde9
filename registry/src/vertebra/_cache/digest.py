"""Digests of a file, computed while it arrives: its SHA-256, and the digest that the source expects."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vertebra._system.regular_files import open_regular

_BLOCK = 2**20


class Digest:
    """Computes the SHA-256 of some bytes, and the digest in the algorithm that the source uses."""

    def __init__(self, expected: str | None, size: int) -> None:
        """
        Args:
            expected: `PresetFile.digest`.
            size: Bytes of the whole file; git's digest needs them first.
        """
        self.expected, self._size = expected, size
        self._sha256 = hashlib.sha256()
        self._source_digest = _hasher(expected, size)

    def update(self, *data: bytes) -> None:
        """Adds bytes to all digests."""
        self.update_sha256(*data)
        self.update_source_digest(*data)

    def update_sha256(self, *data: bytes) -> None:
        """Adds bytes to the SHA-256 only; another thread may call `update_source_digest`."""
        for chunk in data:
            self._sha256.update(chunk)

    def update_source_digest(self, *data: bytes) -> None:
        """Adds bytes to the source's digest, if its algorithm is not SHA-256."""
        if self._source_digest is not None:
            for chunk in data:
                self._source_digest.update(chunk)

    def sha256(self) -> str:
        """Returns the SHA-256 of all bytes so far."""
        return self._sha256.hexdigest()

    def mismatch(self) -> str | None:
        """Returns how the digest differs from the expected one, or None if it does not."""
        if self.expected is None:
            return None
        algorithm, _, expected = self.expected.partition(":")
        actual = (self._source_digest or self._sha256).hexdigest()
        if actual == expected.lower():
            return None
        return f"its {algorithm} is {actual}, expected {expected}"


def digest_of(path: Path, expected: str | None = None, size: int | None = None) -> Digest:
    """Hashes a file.

    Raises:
        OSError: the file cannot be read.
    """
    digest = Digest(expected, path.stat().st_size if size is None else size)
    with open_regular(path, _open_quietly) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest


def _open_quietly(path: str, flags: int) -> int:
    """Opens a file without a change of its access time: verifying a cache is not a use of it."""
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # the file belongs to another user
        return os.open(path, flags)


def _hasher(expected: str | None, size: int) -> hashlib._Hash | None:
    algorithm = (expected or "").partition(":")[0]
    if algorithm == "sha512":
        return hashlib.sha512()
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    if algorithm == "git":  # git hash-object: type and size, then the bytes
        blob = hashlib.sha1(usedforsecurity=False)
        blob.update(b"blob %d\0" % size)
        return blob
    return None
