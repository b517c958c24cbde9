"""The axes of a mesh: each has one use, by its name or by what the caller says."""

import pytest

from vertebra._placement.axes import mesh_axes
from vertebra.errors import MeshError
from vertebra.specs import MeshAxis

NAMES = {
    "data": ("data", "batch", "dp", "replica", "replicate", "Data", "DP"),
    "fsdp": ("fsdp", "shard", "zero", "FSDP"),
    "tensor": ("tensor", "model", "tp", "Model"),
}


@pytest.mark.parametrize(("use", "name"), [(use, name) for use, names in NAMES.items() for name in names])
def test_a_common_name_tells_the_use(use, name):
    assert mesh_axes({name: 2}) == (MeshAxis(name, 2, use),)


@pytest.mark.parametrize("parallel", ["tensor", ["tensor"], ("tensor",), {"data": "tensor"}])
def test_a_use_that_is_given_goes_before_the_name(parallel):
    assert mesh_axes({"data": 4}, parallel) == (MeshAxis("data", 4, "tensor"),)


def test_the_order_of_the_mesh_stays_and_axes_without_a_use_have_that_of_their_name():
    axes = mesh_axes({"x": 2, "model": 4, "dp": 3}, {"x": "fsdp"})
    assert [(axis.name, axis.size, axis.parallel) for axis in axes] == [
        ("x", 2, "fsdp"),
        ("model", 4, "tensor"),
        ("dp", 3, "data"),
    ]


def test_several_axes_may_divide_the_batch():
    assert [axis.parallel for axis in mesh_axes({"a": 2, "b": 2, "c": 2}, ["data", "fsdp", "fsdp"])] == [
        "data",
        "fsdp",
        "fsdp",
    ]


@pytest.mark.parametrize(
    ("sizes", "parallel", "message"),
    [
        ({"x": 2}, None, "the use of its axis 'x' is not known"),
        ({"x": 2}, ["pipeline"], "'pipeline' is no use of an axis"),
        ({"x": 2}, {"y": "data"}, "it has no axis 'y'"),
        ({"x": 2}, {0: "data"}, "it has no axis 0"),
        ({"x": 2}, {0: "data", "y": "data"}, "it has no axis 0"),
        ({"x": 2, "y": 2}, "data", "it has 2 axes, and parallel names 1 uses"),
        ({"x": 2}, ["data", "fsdp"], "it has 1 axes, and parallel names 2 uses"),
        ({"model": 2, "tp": 2}, None, "its axes model and tp are both tensor-parallel"),
        ({"x": 2}, 2, "parallel=2 names no uses"),
        ({"x": 2}, [["data"]], r"\['data'\] is no use of an axis"),
        ({"data": 0}, None, "its axis 'data' has 0 devices"),
        ({"data": -2}, None, "its axis 'data' has -2 devices"),
    ],
)
def test_what_is_no_use_is_an_error(sizes, parallel, message):
    with pytest.raises(MeshError, match=message):
        mesh_axes(sizes, parallel)
