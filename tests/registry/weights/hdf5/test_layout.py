"""Layouts of HDF5 files: the metadata alone, whatever the size of the datasets, and no error inside the library."""

import io
import signal

import h5py
import numpy as np
import pytest

from vertebra._weights.hdf5 import layout as hdf5_layout
from vertebra._weights.hdf5.layout import lay_out
from vertebra._weights.tensor_entry import ALIGNMENT, layout_of


def opened(layout):
    """Returns the laid out file with its datasets filled with zeros."""
    image = io.BytesIO(bytes(layout.size))
    for position, metadata in layout.metadata:
        image.seek(position)
        image.write(metadata)
    return h5py.File(image)


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (0, 3)])
def test_a_dataset_of_any_shape_has_its_position(shape):
    layout = lay_out([layout_of("a/vars/0", "float32", shape), layout_of("b/vars/0", "float32", (1000,))])
    with opened(layout) as file:
        for entry in layout.datasets:
            dataset = file[entry.name]
            assert (dataset.shape, dataset.dtype, dataset.chunks) == (entry.shape, np.dtype("float32"), None)
            assert (dataset.id.get_offset() or 0) == entry.start
            assert entry.start % ALIGNMENT == 0
    assert layout.datasets[1].start + 4000 <= layout.size


def test_values_take_no_memory():
    layout = lay_out([layout_of(f"layers/{i}/vars/0", "float32", (2**38,)) for i in range(3)])
    assert layout.size > 3 * 2**40
    assert sum(len(metadata) for _, metadata in layout.metadata) < 100_000


def test_the_same_datasets_make_the_same_file():
    entries = [layout_of(f"layers/{i}/vars/0", "bfloat16", (3,)) for i in range(20)]
    assert lay_out(entries) == lay_out(entries)


def test_an_interrupt_is_not_raised_in_the_middle_of_the_library(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background has not
    written = []

    class Interrupted(hdf5_layout._SparseFile):
        def write(self, data):
            if not written:
                signal.raise_signal(signal.SIGINT)
            written.append(len(data))
            return super().write(data)

    monkeypatch.setattr(hdf5_layout, "_SparseFile", Interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            lay_out([layout_of("a/vars/0", "float32", (3,))])
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(written) > 3
