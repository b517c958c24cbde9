"""Tensors that hold NaN or infinity are found, in any dtype and at any index."""

import ml_dtypes
import numpy as np
import pytest

from vertebra._weights import non_finite
from vertebra._weights.checkpoint import open_checkpoint
from vertebra._weights.non_finite import not_finite
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.tensor_entry import layout_of
from vertebra._weights.writing import Tensors, write_safetensors


@pytest.fixture
def checkpoint(tmp_path):
    def write(**arrays):
        layouts = {name: layout_of(name, array.dtype.name, array.shape) for name, array in arrays.items()}
        write_safetensors(Tensors(layouts, {name: lambda a=array: a for name, array in arrays.items()}), tmp_path, None)
        return open_checkpoint(SAFETENSORS, {path.name for path in tmp_path.iterdir()}, tmp_path.joinpath)

    return write


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_finds_what_is_no_number(checkpoint, dtype, value):
    sound = np.ones((3, 5), dtype)
    broken = sound.copy()
    broken[2, 4] = value
    assert not_finite(checkpoint(sound=sound, broken=broken, empty=np.zeros((0, 2), dtype))) == ["broken"]


def test_the_last_number_of_a_large_tensor_counts(checkpoint, monkeypatch):
    monkeypatch.setattr(non_finite, "_AT_ONCE", 4)
    assert not_finite(checkpoint(large=np.array([0.0] * 8 + [np.inf]))) == ["large"]


def test_integers_are_numbers(checkpoint):
    kinds = ("int8", "uint8", "int64", "bool")
    assert not_finite(checkpoint(**{kind: np.full(3, -1).astype(kind) for kind in kinds})) == []
