"""Writes safetensors files tensor by tensor, aligned so that tensors can be viewed in the mapped file."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vertebra._weights.tensor_entry import ALIGNMENT, TensorEntry
from vertebra._weights.together.parts import saving_of, write_together

if TYPE_CHECKING:
    import numpy as np
from vertebra._weights.safetensors.format import DTYPES

_CODES = {keras: code for code, keras in DTYPES.items()}


def write_tensors(
    path: Path,
    tensors: Mapping[str, Callable[[], np.ndarray[Any, Any]]],
    layout: Mapping[str, TensorEntry],
    metadata: Mapping[str, str],
) -> None:
    """Writes a file tensor by tensor: each array is computed when it is written, and not kept.

    If processes of a mesh have parts of the tensors, all of them call this, and write one file in the folder that they
    share.

    Args:
        path: The file, replaced if it exists.
        tensors: For each tensor, a function that returns its array.
        layout: Dtype and shape of each tensor, from `layout_of`.
        metadata: Text to store with the tensors.
    """
    order = write_order(layout.values())
    saving = saving_of(tensors.values())
    if saving is not None:
        header = _encode_header(order, metadata)
        ends = list(accumulate((entry.size for entry in order), initial=len(header)))
        entries = [replace(entry, start=start) for entry, start in zip(order, ends, strict=False)]
        write_together(saving, path.name, ends[-1], [(0, header)], entries, tensors)
        return
    with path.open("wb") as file:
        file.write(_encode_header(order, metadata))
        for entry in order:
            write_tensor(file, entry, tensors[entry.name])


def write_tensor(file: BinaryIO, entry: TensorEntry, read: Callable[[], np.ndarray[Any, Any]]) -> None:
    """Writes the bytes of a tensor at the current position of a file."""
    import numpy as np

    array = np.ascontiguousarray(read())
    if array.nbytes != entry.size:
        raise ValueError(f"{entry.name} has {array.nbytes} bytes, expected {entry.size}")
    file.write(array.reshape(-1).view(np.uint8).data)


def write_order(entries: Any) -> list[TensorEntry]:
    """Sorts tensors so that those of aligned size come first: the format allows no gaps, so these stay aligned."""
    return sorted(entries, key=lambda entry: entry.size % ALIGNMENT != 0)


def _encode_header(order: list[TensorEntry], metadata: Mapping[str, str]) -> bytes:
    table: dict[str, Any] = {"__metadata__": dict(metadata)}
    position = 0
    for entry in order:
        offsets = [position, position + entry.size]
        table[entry.name] = {"dtype": _CODES[entry.dtype], "shape": list(entry.shape), "data_offsets": offsets}
        position += entry.size
    header = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-(8 + len(header)) % ALIGNMENT)
    return struct.pack("<Q", len(header)) + header
