"""Copying files from a bundle into a store: hashed on the way, and added completely or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from vertebra._cache.digest import Digest
from vertebra._cache.layout import key_of
from vertebra._cache.manifest import Record
from vertebra._cache.store import Store
from vertebra._cache.transfer.progress import AdvanceBy
from vertebra._system.regular_files import open_regular, problem_of
from vertebra.errors import IntegrityError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

"""Callback with the number of bytes that were copied."""
_BLOCK = 2**20
_AGAIN = "Fetch the preset again, or create the bundle again"


def add_file(
    store: Store, handle: PresetHandle, file: PresetFile, path: Path, sha256: str | None, advance: AdvanceBy
) -> Record:
    """Copies a file of a pinned preset into a store, unless the store has its blob, and writes its record.

    Args:
        store: The store that the file is added to.
        handle: The preset.
        file: The file, with the digest of its source.
        path: Path of the bytes to copy.
        sha256: The expected SHA-256, or None if it is unknown.
        advance: Callback for progress.

    Raises:
        IntegrityError: the bytes do not match the expected size or digest; they are discarded.
        CacheError: the store cannot be written to.
    """
    if sha256 is not None and store.blob(sha256, file.size) is not None:
        advance(file.size)
        record = Record(file.name, file.size, sha256)
    else:
        record = Record(file.name, file.size, _copy(store, handle, file, path, sha256, advance))
    store.put_record(handle, record)
    return record


def _copy(
    store: Store, handle: PresetHandle, file: PresetFile, path: Path, sha256: str | None, advance: AdvanceBy
) -> str:
    digest, size = Digest(file.digest, file.size), 0
    stage = store.stage("partial", key_of(str(handle), file.name))
    try:
        with _opened(handle, file, path) as source, store.translate_os_errors(), stage.open("wb") as target:
            while size <= file.size and (block := source.read(_BLOCK)):
                target.write(block)
                digest.update(block)
                size += len(block)
                advance(len(block))
        problem = digest.mismatch()
        if size != file.size:
            problem = _other_size(path, size, file)
        elif sha256 not in (None, digest.sha256()):
            problem = f"the sha256 of {path} is {digest.sha256()}, expected {sha256}"
        if problem:
            raise IntegrityError(handle, file.name, problem, _AGAIN)
        store.put_blob(stage, digest.sha256())
    finally:
        with contextlib.suppress(OSError):  # a file that is left is removed by `prune`
            stage.unlink(missing_ok=True)
    return digest.sha256()


def _opened(handle: PresetHandle, file: PresetFile, path: Path) -> BinaryIO:
    """Opens the bytes to copy, if they have the size of the file."""
    try:
        source = open_regular(path)
        size = os.fstat(source.fileno()).st_size
        if size == file.size:
            return source
        source.close()
        problem = _other_size(path, size, file)
    except OSError as error:
        problem = f"{path} cannot be copied: {problem_of(error)}"
    raise IntegrityError(handle, file.name, problem, _AGAIN)


def _other_size(path: Path, size: int, file: PresetFile) -> str:
    return f"{path} has {size:,} bytes, expected {file.size:,}"
