"""Carrying contents from one folder of the cache's layout to another: hashed on the way, and taken up whole or not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from vertebra._cache.digest import Digest
from vertebra._cache.layout import key_of
from vertebra._cache.manifest import Record
from vertebra._cache.store import Store
from vertebra.errors import IntegrityError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

Advance = Callable[[int], None]
"""Is told how many bytes were copied."""
_BLOCK = 2**20


def add_file(
    store: Store, handle: PresetHandle, file: PresetFile, path: Path, sha256: str | None, advance: Advance
) -> Record:
    """Copies a file of a pinned preset into a store, where it is not yet, and notes it.

    Args:
        store: Where to.
        handle: The preset.
        file: The file, with what its source promises of it.
        path: Where it stands.
        sha256: What it should hash to, if that is known.
        advance: Is told what was copied.

    Raises:
        IntegrityError: it is not what it should be; nothing is kept of it.
        CacheError: the store cannot take it up.
    """
    if sha256 is not None and store.blob(sha256, file.size) is not None:
        advance(file.size)
        record = Record(file.name, file.size, sha256)
    else:
        record = Record(file.name, file.size, _copy(store, handle, file, path, sha256, advance))
    store.put_record(handle, record)
    return record


def _copy(
    store: Store, handle: PresetHandle, file: PresetFile, path: Path, sha256: str | None, advance: Advance
) -> str:
    digest, size = Digest(file.digest, file.size), 0
    stage = store.stage("partial", key_of(str(handle), file.name))
    try:
        with store.translate_os_errors(), path.open("rb") as source, stage.open("wb") as target:
            while block := source.read(_BLOCK):
                target.write(block)
                digest.update(block)
                size += len(block)
                advance(len(block))
        problem = digest.mismatch()
        if size != file.size:
            problem = f"{path} has {size:,} bytes, expected {file.size:,}"
        elif sha256 not in (None, digest.sha256()):
            problem = f"the sha256 of {path} is {digest.sha256()}, expected {sha256}"
        if problem:
            raise IntegrityError(handle, file.name, problem, "Fetch the preset again, or have the bundle made anew")
        store.put_blob(stage, digest.sha256())
    finally:
        with contextlib.suppress(OSError):  # what is left is removed by whoever is next
            stage.unlink(missing_ok=True)
    return digest.sha256()
