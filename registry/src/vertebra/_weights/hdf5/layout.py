"""The layout of an HDF5 file that is to be written: where each dataset starts, and the metadata around them.

The library must not write to a disk that may be full: after a write that failed it writes again when its objects are
freed, and crashes. Here it makes a file in memory that lacks only the values of the datasets, so that no write of it
can fail, and the values are written by other means. That needs no copy of them, either.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vertebra._weights.tensor_entry import ALIGNMENT, TensorEntry, numpy_dtype

if TYPE_CHECKING:
    import h5py

_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Hdf5Layout:
    """Everything of a file but the values of its datasets."""

    datasets: list[TensorEntry]
    """Each with its position in the file; it is contiguous there, at a multiple of `ALIGNMENT` bytes."""
    metadata: list[tuple[int, bytes]]
    """What the library wrote, with its position in the file. It may overlap datasets: write those later."""
    size: int
    """Bytes of the whole file."""


def lay_out(entries: Iterable[TensorEntry]) -> Hdf5Layout:
    """Lays out a file with datasets of these names, dtypes and shapes.

    The library calls back into Python, and what Ctrl-C raises in such a call is lost. Python raises it in the main
    thread only, so the library works in another.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(_lay_out, list(entries)).result()


def _lay_out(entries: list[TensorEntry]) -> Hdf5Layout:
    import h5py

    image = _SparseFile()
    with h5py.File(image, "w", alignment_threshold=1, alignment_interval=ALIGNMENT) as file:
        datasets = [replace(entry, start=_reserve(file, entry)) for entry in entries]
    return Hdf5Layout(datasets, list(image.written()), image.size)


def _reserve(file: h5py.File, entry: TensorEntry) -> int:
    """Creates a dataset without writing values, and returns where in the file they belong."""
    import h5py
    from h5py import h5d, h5p, h5s, h5t

    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # the same weights make the same file
    links = h5p.create(h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    links.set_char_encoding(h5t.CSET_UTF8)
    dtype, space = h5t.py_create(numpy_dtype(entry.dtype), logical=True), h5s.create_simple(entry.shape)
    # h5py's own create_dataset leaves the properties of a scalar out.
    dataset = h5d.create(file.id, entry.name.encode(), dtype, space, dcpl=properties, lcpl=links)
    if entry.dtype == "bfloat16":  # HDF5 has no such type: Keras stores the bytes, and says so
        h5py.Dataset(dataset).attrs["dtype"] = entry.dtype
    start = dataset.get_offset()
    if start is None and entry.size:
        raise RuntimeError(f"HDF5 gave the dataset {entry.name!r} no position")
    return start or 0


class _SparseFile(io.RawIOBase):
    """A file in memory that holds only the pages that were written to; the others read as zeros."""

    def __init__(self) -> None:
        super().__init__()
        self._pages: dict[int, bytearray] = {}
        self._position = 0
        self.size = 0

    def written(self) -> Iterator[tuple[int, bytes]]:
        """Yields what was written, page by page, with its position."""
        for number, page in sorted(self._pages.items()):
            yield number * _PAGE, bytes(page[: self.size - number * _PAGE])

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        for start, number, inside in self._pieces(len(target)):
            page = self._pages.get(number) or bytes(_PAGE)
            target[start : start + inside.stop - inside.start] = page[inside]
        self._position += len(target)
        return len(target)

    def write(self, data: Any) -> int:
        source = memoryview(data).cast("B")
        for start, number, inside in self._pieces(len(source)):
            page = self._pages.setdefault(number, bytearray(_PAGE))
            page[inside] = source[start : start + inside.stop - inside.start]
        self._position += len(source)
        self.size = max(self.size, self._position)
        return len(source)

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        return self.size

    def _pieces(self, length: int) -> Iterator[tuple[int, int, slice]]:
        """Divides bytes from the position on at the borders of pages: where each piece starts, its page, its slice."""
        start = 0
        while start < length:
            number, offset = divmod(self._position + start, _PAGE)
            end = min(_PAGE, offset + length - start)
            yield start, number, slice(offset, end)
            start += end - offset
