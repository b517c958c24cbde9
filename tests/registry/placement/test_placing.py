"""Placing: each weight is divided along axes of the mesh, evenly, or is an error or replicated."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vertebra._placement.axes import mesh_axes
from vertebra._placement.placing import Layout, place_weights
from vertebra.errors import LayoutError
from vertebra.specs import LayoutRule, WeightPlacement, layout_rules

ROLES = {
    "attention.query": ("block_*/query",),
    "attention.output": ("block_*/output",),
    "embedding.token": ("table",),
}
SPLITS = {
    "attention.query": ("columns", "heads"),
    "attention.output": ("rows", "heads"),
    "embedding.token": ("vocabulary", "tokens"),
}
RULES = layout_rules(ROLES, SPLITS)
SHAPES = {
    "block_0/query/kernel": (12, 16),
    "block_0/query/bias": (16,),
    "block_0/output/kernel": (16, 12),
    "block_0/output/bias": (12,),
    "block_0/norm/scale": (12,),
    "table/embeddings": (100, 12),
    "table/reverse_embeddings": (12, 100),
    "positions/embeddings": (9, 12),
}
ARGUMENTS = {"heads": 4, "tokens": 100}


def placed(sizes, parallel=None, shapes=SHAPES, rules=RULES, arguments=ARGUMENTS, **options):
    return place_weights(shapes, mesh_axes(sizes, parallel), Layout("SampleBackbone", rules, arguments, **options))


def divided(*arguments, **options):
    return {name: weight.divided for name, weight in placed(*arguments, **options).weights.items()}


# === By the rules ===


def test_columns_rows_and_tokens_are_divided_along_the_tensor_axis():
    assert divided({"tensor": 2}) == {
        "block_0/query/kernel": ((), ("tensor",)),
        "block_0/query/bias": (("tensor",),),
        "block_0/output/kernel": (("tensor",), ()),
        "block_0/output/bias": ((),),  # each device adds it to the sum
        "block_0/norm/scale": ((),),
        "table/embeddings": (("tensor",), ()),
        "table/reverse_embeddings": ((), ("tensor",)),
        "positions/embeddings": ((), ()),
    }


def test_fsdp_divides_the_first_axis_of_each_matrix_and_no_vector():
    assert divided({"fsdp": 3}) == {
        "block_0/query/kernel": (("fsdp",), ()),
        "block_0/query/bias": ((),),
        "block_0/output/kernel": ((), ("fsdp",)),  # 16 rows cannot be divided by 3
        "block_0/output/bias": ((),),
        "block_0/norm/scale": ((),),
        "table/embeddings": ((), ("fsdp",)),
        "table/reverse_embeddings": (("fsdp",), ()),
        "positions/embeddings": (("fsdp",), ()),
    }


def test_both_divide_different_axes_where_they_can():
    found = divided({"fsdp": 2, "tensor": 2})
    assert found["block_0/query/kernel"] == (("fsdp",), ("tensor",))
    assert found["block_0/output/kernel"] == (("tensor",), ("fsdp",))
    assert found["block_0/query/bias"] == (("tensor",),)


def test_two_axes_that_divide_one_are_in_the_order_of_the_mesh():
    shapes = {"block_0/query/kernel": (5, 16)}
    assert divided({"fsdp": 2, "tensor": 4}, shapes=shapes)["block_0/query/kernel"] == ((), ("fsdp", "tensor"))
    assert divided({"tensor": 4, "fsdp": 2}, shapes=shapes)["block_0/query/kernel"] == ((), ("tensor", "fsdp"))


@pytest.mark.parametrize("sizes", [{"data": 8}, {"fsdp": 1}, {"tensor": 1}, {}])
def test_an_axis_of_data_or_of_one_device_divides_nothing(sizes):
    assert all(not any(axes) for axes in divided(sizes).values())
    assert all(not weight.reason for weight in placed(sizes).weights.values())


def test_the_first_rule_that_matches_a_layer_counts():
    rules = (LayoutRule("first", ("block_*/query",), "rows", "heads"), *RULES)
    assert divided({"tensor": 2}, rules=rules)["block_0/query/kernel"] == (("tensor",), ())


# === Uneven weights ===


def test_heads_that_cannot_be_divided_are_an_error_or_replicated():
    with pytest.raises(LayoutError) as caught:
        placed({"tensor": 8})
    assert str(caught.value) == (
        "SampleBackbone cannot be divided among devices: block_0/query/kernel, attention.query: heads 4 cannot be "
        'divided by 8. Pass on_uneven="replicate" to have the weight on all devices, or another size of the axis '
        "'tensor'."
    )
    found = placed({"tensor": 8}, replicates_uneven=True).weights
    assert found["block_0/query/kernel"].divided == ((), ())
    assert found["block_0/query/kernel"].reason == "attention.query: heads 4 cannot be divided by 8"
    assert found["block_0/norm/scale"].reason == ""


def test_an_axis_that_units_count_must_be_divisible_too():
    with pytest.raises(LayoutError, match="heads 4, 6 columns cannot be divided by 4"):
        placed({"tensor": 4}, shapes={"block_0/query/kernel": (12, 6)})


def test_units_that_no_argument_counts_are_those_of_the_axis():
    assert divided({"tensor": 8}, arguments={"tokens": None}, shapes={"block_0/query/kernel": (12, 16)}) == {
        "block_0/query/kernel": ((), ("tensor",))
    }


def test_a_matrix_of_primes_is_an_error_for_fsdp_or_replicated():
    shapes = {"positions/embeddings": (7, 5)}
    with pytest.raises(LayoutError, match=r"positions/embeddings, no axis of \(7, 5\) can be divided by 4"):
        placed({"fsdp": 4}, shapes=shapes)
    (found,) = placed({"fsdp": 4}, shapes=shapes, replicates_uneven=True).weights.values()
    assert (found.divided, found.reason) == (((), ()), "no axis of (7, 5) can be divided by 4")


def test_without_a_layout_tensor_parallelism_is_an_error_and_fsdp_is_not():
    with pytest.raises(LayoutError, match=r'declares no layout\. Pass layout="auto"'):
        placed({"tensor": 2}, rules=())
    assert divided({"fsdp": 2, "tensor": 1}, rules=())["block_0/query/kernel"] == (("fsdp",), ())


# === By the shapes ===


def test_a_derived_layout_divides_the_last_axis_that_can_be_and_is_no_error():
    shapes = {"a/kernel": (8, 6), "b/kernel": (8, 5), "c/kernel": (3, 5), "d/bias": (8,)}
    placement = placed({"tensor": 2}, rules=(), shapes=shapes, derived=True)
    assert placement.derived
    assert {name: weight.divided for name, weight in placement.weights.items()} == {
        "a/kernel": ((), ("tensor",)),
        "b/kernel": (("tensor",), ()),
        "c/kernel": ((), ()),
        "d/bias": ((),),
    }
    assert placement.weights["c/kernel"].reason == "no axis of (3, 5) is divisible by 2"


# === Any shapes and meshes ===

USES = st.sampled_from(["data", "fsdp", "tensor"])
MESHES = st.lists(st.tuples(USES, st.integers(1, 6)), min_size=1, max_size=4)
LEAVES = st.sampled_from([*(name.rpartition("/")[0] for name in SHAPES), "other"])
KERNELS = st.tuples(LEAVES, st.lists(st.integers(1, 48), max_size=3).map(tuple))


@given(MESHES, st.lists(KERNELS, max_size=5), st.booleans())
def test_parts_times_devices_are_the_whole_and_an_axis_divides_a_weight_once(mesh, kernels, derived):
    assume(sum(use == "tensor" for use, _ in mesh) <= 1)
    sizes = {f"axis {number}": size for number, (_, size) in enumerate(mesh)}
    shapes = {f"{layer}/kernel {number}": shape for number, (layer, shape) in enumerate(kernels)}
    uses = [use for use, _ in mesh]
    placement = placed(sizes, uses, shapes, derived=derived, replicates_uneven=True)
    for name, weight in placement.weights.items():
        parts, share = weight.parts(sizes), weight.share(sizes)
        assert tuple(map(math.prod, zip(parts, share, strict=True))) == weight.shape == shapes[name]
        used = [axis for axes in weight.divided for axis in axes]
        assert len(used) == len(set(used))
        assert all(sizes[axis] > 1 and placement.axes[list(sizes).index(axis)].parallel != "data" for axis in used)
        assert all(list(axes) == sorted(axes, key=list(sizes).index) for axes in weight.divided)


@given(MESHES, st.lists(KERNELS, min_size=1, max_size=5))
def test_a_weight_is_divided_evenly_or_is_an_error_with_its_name(mesh, kernels):
    assume(sum(use == "tensor" for use, _ in mesh) <= 1)
    sizes = {f"axis {number}": size for number, (_, size) in enumerate(mesh)}
    shapes = {f"{layer.replace('0', str(number))}/kernel": shape for number, (layer, shape) in enumerate(kernels)}
    uses = [use for use, _ in mesh]
    kept = placed(sizes, uses, shapes, replicates_uneven=True).weights
    uneven = [name for name, weight in kept.items() if weight.reason]
    if not uneven:
        assert placed(sizes, uses, shapes).weights == kept
        return
    with pytest.raises(LayoutError) as caught:
        placed(sizes, uses, shapes)
    assert caught.value.problem.startswith(f"{uneven[0]}, ")


# === The receipt ===


def test_the_receipt_has_a_line_for_each_group_of_weights():
    shapes = {f"block_{number}/query/kernel": (12, 16) for number in range(3)} | {"positions/embeddings": (7, 5)}
    lines = str(placed({"fsdp": 4, "tensor": 2}, shapes=shapes, replicates_uneven=True)).splitlines()
    assert lines == [
        "mesh fsdp 4 (fsdp) × tensor 2 (tensor)",
        "(12 × fsdp, 16 × tensor)  block_*/query/kernel (3)",
        "(7, 5) whole: no axis of (7, 5) can be divided by 4  positions/embeddings (1)",
    ]
    derived = placed({"tensor": 2}, shapes={"a": (3,)}, rules=(), derived=True)
    assert str(derived).splitlines()[0].endswith("; layout derived from the shapes of the weights")


def test_the_part_of_a_device_has_the_shape_of_its_share():
    weight = WeightPlacement((12, 16), (("a",), ("b", "c")))
    sizes = {"a": 3, "b": 2, "c": 4}
    assert (weight.parts(sizes), weight.share(sizes)) == ((3, 8), (4, 2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("role", "a/*", "rows", "heads"), "expected a tuple of globs"),
        (("role", (), "rows", "heads"), "expected a tuple of globs"),
        (("role", (1,), "rows", "heads"), "expected a tuple of globs"),
        (("role", ("a",), "diagonal", "heads"), "split='diagonal', expected columns, rows, vocabulary"),
        (("role", ("a",), ["rows"], "heads"), "expected columns, rows, vocabulary"),
        (("role", ("a",), "rows", 4), "units=4, expected names"),
    ],
)
def test_a_rule_with_another_value_is_refused(fields, message):
    with pytest.raises(TypeError, match=message):
        LayoutRule(*fields)
