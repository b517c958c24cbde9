"""Meshes of a plan: from texts, and all that a number of devices allows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra._presets.plans.meshes import axes_of, mesh_text, meshes_of, parse_mesh
from vertebra.errors import ArgumentError, MeshError


@pytest.mark.parametrize(("text", "sizes"), [("8", (8,)), ("2x4", (2, 4)), ("1x8x64", (1, 8, 64))])
def test_a_text_has_the_sizes(text, sizes):
    assert parse_mesh(text) == sizes


@pytest.mark.parametrize("text", ["", "x", "2x", "2X4", "2*4", "-2x4", "0x8", "2x4.0", "2 x 4", "²x4", "9" * 5000])
def test_what_is_no_mesh_is_an_error(text):
    with pytest.raises(ArgumentError, match="expected sizes of at least 1 with x between them, such as 8 or 2x4"):
        parse_mesh(text)


@pytest.mark.parametrize(
    ("sizes", "parallel", "axes"),
    [
        ((8,), None, ["fsdp"]),
        ((2, 4), None, ["fsdp", "tensor"]),
        ((2, 2, 2), None, ["data", "fsdp", "tensor"]),
        ((2, 4), ("tensor", "data"), ["tensor", "data"]),
        ((2, 2, 2), ("fsdp", "fsdp", "tensor"), ["fsdp_1", "fsdp_2", "tensor"]),
        ((1, 1, 2, 4), ("data", "data", "fsdp", "data"), ["data_1", "data_2", "fsdp", "data_3"]),
    ],
)
def test_axes_have_the_names_of_their_uses(sizes, parallel, axes):
    found = axes_of(sizes, math.prod(sizes), parallel)
    assert [axis.name for axis in found] == axes
    assert [axis.parallel for axis in found] == [name.partition("_")[0] for name in axes]
    assert tuple(axis.size for axis in found) == sizes


@pytest.mark.parametrize(
    ("sizes", "parallel", "message"),
    [
        ((3, 3), None, "3x3 has 9 devices, and --devices is 8"),
        ((2, 2, 2, 1), None, "2x2x2x1 has 4 axes, and --parallel is not given"),
        ((2, 4), ("fsdp",), "2x4 has 2 axes, and --parallel names 1 uses"),
        ((2, 4), ("fsdp", "pipeline"), "'pipeline' is no use of an axis. Pass --parallel with data, fsdp, tensor"),
        ((2, 4), ("tensor", "tensor"), "tensor_1 and tensor_2 are both tensor-parallel"),
    ],
)
def test_what_does_not_fit_the_devices_is_an_error(sizes, parallel, message):
    with pytest.raises(MeshError, match=message):
        axes_of(sizes, 8, parallel)


@given(st.integers(1, 5000))
def test_every_factor_is_a_size_of_tensor_parallelism_once_in_order(devices):
    found = [tuple(axis.size for axis in axes) for axes in meshes_of(devices)]
    assert found == [(devices // size, size) for size in range(1, devices + 1) if devices % size == 0]


def test_a_mesh_is_shown_by_its_sizes_and_uses():
    assert [mesh_text(axes) for axes in meshes_of(4)] == [
        "4x1 (fsdp, tensor)",
        "2x2 (fsdp, tensor)",
        "1x4 (fsdp, tensor)",
    ]
