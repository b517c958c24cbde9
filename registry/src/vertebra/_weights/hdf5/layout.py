"""Lays out an HDF5 file to be written: the offset of each dataset, and the metadata around the datasets.

The HDF5 library must not write to a disk that may be full: after a failed write it writes again when its objects are
freed, and crashes. So the library writes a file in memory, without the values of the datasets, where no write can
fail. The values are then written without the library, which also avoids a copy.
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
    """A whole file except the values of its datasets."""

    datasets: list[TensorEntry]
    """The datasets with their offsets in the file; each is contiguous, at a multiple of `ALIGNMENT` bytes."""
    metadata: list[tuple[int, bytes]]
    """The library's bytes with their offsets in the file. They may overlap datasets: write the datasets later."""
    size: int
    """Bytes of the whole file."""


def lay_out(entries: Iterable[TensorEntry]) -> Hdf5Layout:
    """Lays out a file with datasets of these names, dtypes and shapes.

    The library calls back into Python, and loses a KeyboardInterrupt that is raised in such a call. Python raises it
    only in the main thread, so the library works in another thread.
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
    """Creates a dataset without writing its values, and returns their offset in the file."""
    import h5py
    from h5py import h5d, h5p, h5s, h5t

    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # equal weights give equal files
    links = h5p.create(h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    links.set_char_encoding(h5t.CSET_UTF8)
    dtype, space = h5t.py_create(numpy_dtype(entry.dtype), logical=True), h5s.create_simple(entry.shape)
    # h5py's own create_dataset ignores the properties for a scalar.
    dataset = h5d.create(file.id, entry.name.encode(), dtype, space, dcpl=properties, lcpl=links)
    if entry.dtype == "bfloat16":  # HDF5 has no such type: Keras stores opaque bytes, and the dtype as an attribute
        h5py.Dataset(dataset).attrs["dtype"] = entry.dtype
    start = dataset.get_offset()
    if start is None and entry.size:
        raise RuntimeError(f"HDF5 gave the dataset {entry.name!r} no offset")
    return start or 0


class _SparseFile(io.RawIOBase):
    """A file in memory that holds only the written pages; all others read as zeros."""

    def __init__(self) -> None:
        super().__init__()
        self._pages: dict[int, bytearray] = {}
        self._position = 0
        self.size = 0

    def written(self) -> Iterator[tuple[int, bytes]]:
        """Yields the written pages with their offsets."""
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
        """Divides a range from the position on at page borders: the piece's start, its page, and its slice of that."""
        start = 0
        while start < length:
            number, offset = divmod(self._position + start, _PAGE)
            end = min(_PAGE, offset + length - start)
            yield start, number, slice(offset, end)
            start += end - offset
