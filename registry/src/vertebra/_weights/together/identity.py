"""The identity of a checkpoint: a digest that processes compare before each of them reads its parts."""

from __future__ import annotations

import hashlib

from vertebra._weights.checkpoint import Checkpoint

_MOST_TENSORS, _MOST_NUMBERS = 64, 16


def digest_of(checkpoint: Checkpoint) -> str:
    """Returns a SHA-256 over the headers of a checkpoint's files and some of its numbers, as 64 hex digits.

    Other weights of the same shapes differ nearly everywhere, so a few pages of the files tell them apart.
    """
    digest = hashlib.sha256()
    for name, header in sorted(checkpoint.header.files.items()):
        entries = [(entry.name, entry.dtype, entry.shape, entry.start, entry.size) for entry in header.entries.values()]
        digest.update(repr((name, entries, sorted(header.metadata.items()))).encode())
    names = [name for name, entry in checkpoint.entries.items() if not entry.is_encoded]
    for name in names[:: -(-len(names) // _MOST_TENSORS) or 1]:
        numbers = checkpoint.view(name).reshape(-1)
        digest.update(numbers[:: -(-numbers.size // _MOST_NUMBERS) or 1].tobytes())
    return digest.hexdigest()
