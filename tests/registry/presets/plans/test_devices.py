"""Many devices: the bytes of each kind, which meshes fit, and which weights are replicated."""

import math
from dataclasses import replace

import pytest

from vertebra import layout_rules
from vertebra._presets.plans.devices import DevicesRequest, PlannedModel, plan_devices
from vertebra._presets.plans.weights import StoredWeight
from vertebra.errors import ArgumentError, LayoutError, MeshError

LAYOUT = layout_rules(
    {"attention.query": ("block_*/query",), "attention.key": ("block_*/key",), "mlp.down": ("block_*/down",)},
    {"attention.query": ("columns", "heads"), "attention.key": ("columns", "groups"), "mlp.down": ("rows", "inner")},
)
SHAPES = {
    "table/embeddings": (64, 16),
    **{f"block_{number}/query/kernel": (16, 32) for number in range(2)},
    **{f"block_{number}/query/bias": (32,) for number in range(2)},
    **{f"block_{number}/key/kernel": (16, 8) for number in range(2)},
    **{f"block_{number}/down/kernel": (24, 16) for number in range(2)},
    "norm/scale": (16,),
}
BLOCK = 16 * 32 + 16 * 8 + 24 * 16  # numbers of its kernels
TABLE, BIASES, NORM = 64 * 16, 2 * 32, 16


def stored(shape, dtype="bfloat16", size=2):
    return StoredWeight(math.prod(shape), size * math.prod(shape), dtype, shape=shape)


MODEL = PlannedModel(
    backbone="SampleBackbone",
    weights={name: stored(shape) for name, shape in SHAPES.items()},
    shapes=SHAPES,
    layout=LAYOUT,
    arguments={"heads": 8, "groups": 2, "inner": 24, "vocabulary_size": 64, "max_sequence_length": 512},
    dtype="float32",
)


def planned(model=MODEL, devices=4, mesh=(2, 2), **request):
    return plan_devices(model, DevicesRequest(devices, mesh, **request))


def bytes_of(*arguments, **request):
    return planned(*arguments, **request).meshes[0]


# === Weights ===


@pytest.mark.parametrize("mesh", [(4, 1), (2, 2), (1, 4)])
def test_a_device_has_its_parts_and_those_that_are_whole(mesh):
    fsdp, tensor = mesh
    model = replace(MODEL, arguments=MODEL.arguments | {"groups": 8})
    found = bytes_of(model, mesh=mesh)
    numbers = 2 * BLOCK // 4 + TABLE // fsdp + BIASES // tensor + NORM
    assert found.weights == 4 * numbers
    assert found.reads == 2 * numbers  # the files have bfloat16
    assert found.replicated == 4 * (NORM + (BIASES if tensor == 1 else 0) + (TABLE if fsdp == 1 else 0))


def test_an_axis_of_data_divides_nothing():
    assert bytes_of(mesh=(2, 2), parallel=("data", "fsdp")).weights == bytes_of(devices=2, mesh=(2,)).weights
    assert bytes_of(mesh=(4,), parallel=("data",)).weights == 4 * (2 * BLOCK + TABLE + BIASES + NORM)


def test_fsdp_gathers_the_two_largest_layers_in_the_dtype_of_the_computation():
    assert bytes_of(mesh=(4, 1)).gathered == 4 * (TABLE + BLOCK)
    assert bytes_of(mesh=(2, 2)).gathered == 4 * (TABLE + BLOCK // 2)
    assert bytes_of(mesh=(1, 4), replicates_uneven=True).gathered == 0
    mixed = replace(MODEL, dtype="mixed_bfloat16")
    assert bytes_of(mixed, mesh=(4, 1)).gathered == 2 * (TABLE + BLOCK)
    assert bytes_of(mixed, mesh=(4, 1), train="full").gathered == 2 * (TABLE + BLOCK) + 4 * max(TABLE, BLOCK)


def test_integers_are_gathered_as_they_are():
    weights = MODEL.weights | {name: stored(SHAPES[name], "int8", 1) for name in SHAPES if "block" in name}
    model = replace(MODEL, weights=weights)
    assert bytes_of(model, mesh=(4, 1)).gathered == 4 * TABLE + BLOCK
    assert bytes_of(model, mesh=(4, 1), train="full").gathered == 8 * TABLE + BLOCK


# === Training ===


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2), ("mixed_bfloat16", 4), ("float64", 8)])
def test_all_weights_have_a_gradient_and_two_moments_of_their_dtype(dtype, size):
    found = bytes_of(replace(MODEL, dtype=dtype), train="full")
    assert found.weights == size * (2 * BLOCK // 4 + TABLE // 2 + BIASES // 2 + NORM)
    assert (found.gradients, found.optimizer) == (found.weights, 2 * found.weights)
    assert found.total == 4 * found.weights + found.gathered + found.activations


def test_integers_are_not_trained():
    weights = MODEL.weights | {"table/embeddings": stored((64, 16), "int8", 1)}
    found = bytes_of(replace(MODEL, weights=weights), train="full")
    assert found.weights - found.gradients == TABLE // 2
    assert found.gradients == 4 * (2 * BLOCK // 4 + BIASES // 2 + NORM)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 4), ("float64", 8)])
def test_an_adapter_is_whole_on_each_device_and_has_at_least_four_bytes(dtype, size):
    model = replace(MODEL, dtype=dtype, adapter=100)
    found, base = bytes_of(model, train="lora"), bytes_of(model)
    assert found.weights - base.weights == found.replicated - base.replicated == size * 100
    assert (found.gradients, found.optimizer) == (size * 100, 2 * size * 100)
    assert planned(model, train="lora").adapter_parameters == 100
    assert planned(model).adapter_parameters is None


@pytest.mark.parametrize("train", ["full", "lora"])
def test_a_head_is_whole_and_trained_in_both_cases(train):
    with_head, without = (bytes_of(replace(MODEL, head=head, adapter=9), train=train) for head in (7, 0))
    assert with_head.weights - without.weights == with_head.gradients - without.gradients == 4 * 7
    assert with_head.optimizer - without.optimizer == 8 * 7


def test_activations_are_those_of_the_sequences_of_one_part_of_the_batch():
    plan = planned(train="full", sequences=3, length=10)
    each = 2 * (5 * 32 // 2 + 24 // 2 + 16) + 2 * NORM
    assert plan.meshes[0].activations == 3 * 10 * each * 4
    assert plan.meshes[0].scores == 3 * 2 * 8 // 2 * 10**2 * 4
    assert (plan.sequences, plan.length) == (3, 10)
    assert bytes_of().activations == bytes_of().scores == 0
    assert planned().length is None


@pytest.mark.parametrize(("limit", "length"), [(512, 512), (None, 2048), (100_000, 2048), (-1, 2048), ("many", 2048)])
def test_sequences_are_as_long_as_the_backbone_has_positions(limit, length):
    model = replace(MODEL, arguments=MODEL.arguments | {"max_sequence_length": limit})
    assert planned(model, train="full").length == length


def test_a_cache_is_divided_with_the_heads_of_the_keys():
    model = replace(MODEL, cache=1001)
    assert bytes_of(model).cache == 501
    assert bytes_of(model, mesh=(4, 1)).cache == 1001
    assert bytes_of(model, mesh=(1, 4), replicates_uneven=True).cache == 1001  # two groups of heads


# === Meshes ===


def test_all_meshes_are_compared_and_the_first_that_fits_is_known():
    found = planned(mesh=None)
    assert [tuple(axis.size for axis in mesh.axes) for mesh in found.meshes] == [(4, 1), (2, 2), (1, 4)]
    assert [mesh.fits for mesh in found.meshes] == [None, None, False]
    assert found.meshes[2].problem.endswith("attention.key: groups 2 cannot be divided by 4")
    assert (found.first_fit, found.replicated) == (None, ())
    totals = [mesh.total for mesh in found.meshes]
    assert totals[0] > totals[1] > 0 == totals[2]
    fits = planned(mesh=None, memory=totals[1])
    assert [mesh.fits for mesh in fits.meshes] == [False, True, False]
    assert fits.first_fit == 1
    assert fits.replicated == planned(mesh=(2, 2)).replicated
    assert planned(mesh=None, memory=totals[0]).first_fit == 0
    assert planned(mesh=None, memory=1).first_fit is None


def test_a_mesh_that_does_not_fit_is_answered_with_those_that_do():
    memory = bytes_of(mesh=(2, 2)).total
    found = planned(mesh=(4, 1), memory=memory)
    assert (found.meshes[0].fits, found.first_fit) == (False, None)
    assert [tuple(axis.size for axis in mesh.axes) for mesh in found.others] == [(2, 2)]
    fits = planned(mesh=(2, 2), memory=memory)
    assert (fits.first_fit, fits.others) == (0, ())


def test_uneven_weights_are_an_error_of_the_mesh_or_replicated():
    with pytest.raises(LayoutError, match=r"groups 2 cannot be divided by 4\. Pass --on-uneven replicate"):
        planned(mesh=(1, 4))
    found = planned(mesh=(1, 4), replicates_uneven=True)
    (keys,) = (group for group in found.replicated if "key" in group.weights)
    assert (keys.weights, keys.count, keys.bytes) == ("block_*/key/kernel", 2, 2 * 4 * 16 * 8)
    assert (keys.along, keys.reason) == (("tensor",), "attention.key: groups 2 cannot be divided by 4")


def test_each_replicated_weight_has_its_axes_and_a_reason():
    found = {group.weights: group for group in planned().replicated}
    assert found.keys() == {"table/embeddings", "block_*/query/bias", "norm/scale"}
    assert found["table/embeddings"].along == ("tensor",)
    assert found["table/embeddings"].reason == "the layout divides no such layer"
    assert (found["block_*/query/bias"].along, found["block_*/query/bias"].bytes) == (("fsdp",), 4 * BIASES // 2)
    assert found["norm/scale"].along == ("fsdp", "tensor")
    assert {found["block_*/query/bias"].reason, found["norm/scale"].reason} == {"a vector is too small to be divided"}


def test_without_a_layout_one_is_derived_and_activations_are_unknown():
    model = replace(MODEL, layout=())
    found = planned(model, mesh=None, train="full", memory=10**9)
    assert found.derived
    assert {mesh.activations for mesh in found.meshes} == {None}
    assert {mesh.fits for mesh in found.meshes} == {None}
    assert {mesh.fits for mesh in planned(model, mesh=None, train="full", memory=1).meshes} == {False}
    assert planned(model, mesh=None, memory=10**9).first_fit == 0
    assert not planned().derived


def test_the_length_of_other_inputs_than_texts_is_not_known():
    images = replace(MODEL, arguments={"heads": 8, "groups": 2, "inner": 24})
    found = planned(images, train="full", memory=10**9)
    assert (found.length, found.meshes[0].activations, found.meshes[0].scores, found.meshes[0].fits) == (
        None,
        None,
        0,
        None,
    )
    assert planned(images, train="full", length=50).meshes == planned(train="full", length=50).meshes


@pytest.mark.parametrize("number", [0, -1, 1_000_001])
@pytest.mark.parametrize(
    ("field", "option"), [("devices", "devices"), ("sequences", "batch-size"), ("length", "length")]
)
def test_numbers_out_of_range_are_refused(number, field, option):
    with pytest.raises(ArgumentError, match=f"--{option}={number}, expected a number from 1 to 1,000,000"):
        DevicesRequest(**{"devices": 8, field: number})


def test_what_cannot_be_planned_is_an_error():
    with pytest.raises(MeshError, match="3x3 has 9 devices, and --devices is 8"):
        planned(devices=8, mesh=(3, 3))
    with pytest.raises(ArgumentError, match="--length=513, expected at most 512, the positions of the backbone"):
        planned(train="full", length=513)
