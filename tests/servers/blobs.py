"""Contents by their hashes, as git and its extension for large files (LFS) name them."""

import hashlib
import shutil
import tempfile
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from servers.messages import Content

LARGE_SUFFIXES = (".safetensors", ".h5")
LARGE_SIZE = 100_000
COPY_SIZE = 1 << 20


@dataclass(frozen=True)
class Blob:
    """A content and its hashes."""

    content: Content
    sha256: str

    @property
    def size(self) -> int:
        return len(self.content)

    @cached_property
    def git_oid(self) -> str:
        """What git names a file with this content."""
        return git_oid(bytes(self.content))

    @cached_property
    def pointer(self) -> bytes:
        """The file that git keeps in place of a large one."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        return text.encode()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str, size: int) -> bool:
    """Whether a file of a repository is kept outside of git. An empty one never is: clients count on that."""
    return size > LARGE_SIZE or (size > 0 and path.endswith(LARGE_SUFFIXES))


class BlobStore:
    """Blobs by their sha256.

    Args:
        folder: where uploads are kept; in memory if it is not given.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._blobs: dict[str, Blob] = {}

    def find(self, sha256: str) -> Blob | None:
        return self._blobs.get(sha256)

    def add(self, source: bytes | Path) -> Blob:
        """Adds a content. A file stays where it is, and must stay as it is."""
        if isinstance(source, bytes):
            return self._keep(Blob(Content.of(source), hashlib.sha256(source).hexdigest()))
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return self._keep(Blob(Content.of(source), sha256))

    def receive(self, stream: BinaryIO) -> Blob:
        """Adds what comes from a stream."""
        if self.folder is None:
            return self.add(stream.read())
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            shutil.copyfileobj(stream, file, COPY_SIZE)
        return self.add(Path(file.name))

    def _keep(self, blob: Blob) -> Blob:
        with self._lock:
            return self._blobs.setdefault(blob.sha256, blob)
