"""What the rewriting of a traced graph may do: joint products, equal calls once, and results in memory that is free."""

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def only_on_torch(torch):
    """Skips the tests on other runtimes."""


@pytest.fixture(autouse=True)
def no_choices(monkeypatch):
    """No kernel was chosen before the test; none is kept after it."""
    from vertebra_torch.kernels import choices

    for name, value in {"_known": {}, "_is_read": True, "_is_changed": False}.items():
        monkeypatch.setattr(choices, name, value)
    monkeypatch.setattr(choices, "runtime_folder", lambda name: None)


@pytest.fixture(params=["packed", "separate"])
def chosen(request, monkeypatch):
    """The kernel that is the fastest, whatever is on this machine."""
    from vertebra_torch.kernels import measuring

    first = {"packed": lambda seconds: "packed" if "packed" in seconds else next(iter(seconds)), "separate": min}
    monkeypatch.setattr(measuring, "_HOPELESS", float("inf"))
    monkeypatch.setattr(measuring, "fastest", lambda seconds, gains: first[request.param](seconds))
    return request.param


@pytest.fixture
def traced(torch):
    """Returns a function that fuses the graph of one: it returns the graph, and the function with packed weights."""
    from vertebra_torch.graphs import tracing
    from vertebra_torch.kernels import packing

    def make(function, *tensors, for_all_shapes=False):
        with torch.no_grad():
            fused = tracing.trace(function, tensors, for_all_shapes=for_all_shapes).fused
        weights = packing.PackedWeights()

        def call(*tensors):
            with torch.no_grad():
                return fused.call(*tensors, *weights.packed(fused.weights))

        return fused.call.__self__.graph, call

    return make


def targets(graph):
    return [node.target for node in graph.nodes]


def same(torch, found, expected):
    return torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


# === Products of the same rows ===


def parameters(torch, *widths, rows=6, dtype=None):
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(rows, width, dtype=dtype)) for width in widths]


@pytest.mark.parametrize("for_all_shapes", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_products_of_the_same_rows_are_one_call(torch, traced, chosen, bias, for_all_shapes):
    from vertebra_torch.kernels import joint

    weights, shifts = parameters(torch, 4, 8, 8), [torch.nn.Parameter(torch.randn(n)) for n in (4, 8, 8)]
    (square,) = parameters(torch, 6)

    def function(x):
        x = x @ square * 0.1
        first, gate, up = (
            x @ weight + shift if bias else x @ weight for weight, shift in zip(weights, shifts, strict=True)
        )
        first = first.view(*first.shape[:-1], 2, 2).transpose(1, 2) * 2
        return first, torch.nn.functional.gelu(gate, approximate="tanh") * up

    x = torch.randn(5, 7, 6)
    graph, call = traced(function, x, for_all_shapes=for_all_shapes)
    assert [len(node.args[1]) for node in graph.nodes if node.target is joint.products] == [3]
    for shape in [(5, 7, 6), (3, 4, 6)] if for_all_shapes else [(5, 7, 6)]:
        x = torch.randn(*shape)
        for found, expected in zip(call(x), function(x), strict=True):
            assert same(torch, found, expected)


def test_the_joint_weight_is_packed_once_and_no_other(torch, traced, monkeypatch):
    from vertebra_torch.kernels import measuring, packing

    packs, pack = [], packing.pack
    monkeypatch.setattr(packing, "pack", lambda *group: packs.append(len(group)) or pack(*group))
    monkeypatch.setattr(measuring, "fastest", lambda seconds, gains: list(seconds)[-1])
    first, second = parameters(torch, 4, 8)
    _, call = traced(lambda x: ((x @ first) * 2, (x @ second) * 2), torch.randn(5, 6))
    for _ in range(3):
        call(torch.randn(5, 6))
    assert packs == [2]


@pytest.mark.parametrize("weights", [1, 2])
def test_a_copy_that_is_not_chosen_does_not_stay(torch, monkeypatch, weights):
    """It was made to be measured."""
    from vertebra_torch.kernels import dense, joint, measuring, packing

    monkeypatch.setattr(measuring, "fastest", lambda seconds, gains: next(iter(seconds)))
    group, rows = parameters(torch, 4, 8)[:weights], torch.randn(5, 6)
    packed = packing.PackedWeight(*group)
    with torch.no_grad():
        if weights == 1:
            dense.product(rows, group[0], packed, None, None, "none", "")
        else:
            joint.products(rows, group, packed, [None] * 2, [("none", "")] * 2)
    assert packed._tensor is None


def test_a_compiled_function_that_is_not_packed_reads_the_weights_at_each_call(torch):
    inputs = keras.Input((6,))
    layers = [keras.layers.Dense(4), keras.layers.Dense(8)]
    model = keras.Model(inputs, [keras.ops.relu(layer(inputs)) for layer in layers])
    compiled, x = vertebra.compile(model), np.ones((3, 6), "float32")
    for _ in range(2):
        for found, expected in zip(compiled(x), model(x), strict=True):
            assert same(torch, found, expected)
        for variable in model.weights:
            variable.assign(variable.value + 1)


def test_the_product_of_logits_takes_the_fastest_kernel(torch, traced, chosen):
    from vertebra_torch.kernels import dense

    (table,) = parameters(torch, 6, rows=9)
    rows = torch.randn(2, 6)
    graph, call = traced(lambda rows: torch.mm(rows, table.t()), rows)
    assert targets(graph).count(dense.product) == 1
    assert same(torch, call(rows), torch.mm(rows, table.t()))


def test_views_of_the_same_weight_have_one_packed_copy(torch):
    from vertebra_torch.kernels import packing

    table, weights = torch.randn(9, 6), packing.PackedWeights()
    (first, other) = weights.packed([(table.t(),), (table,)])
    assert weights.packed([(table.t(),)]) == [first]
    assert first is not other


def test_arguments_are_flat_in_the_order_of_keras(torch):
    from collections import OrderedDict

    from vertebra_torch.flattening import as_tensors, flattened

    values = ({"b": 1, "a": (2, [3])}, OrderedDict(c=4, d=5))
    leaves = []
    key = flattened(values, leaves)
    assert leaves == keras.tree.flatten(values)
    assert key == flattened(({"a": (7, [7]), "b": 7}, OrderedDict(c=7, d=7)), [])
    assert key != flattened(({"a": [7, [7]], "b": 7}, OrderedDict(c=7, d=7)), [])
    ready = torch.ones(2)
    tensors = as_tensors([np.ones(2, "int32"), ready, 2.0])
    assert tensors[1] is ready
    assert [tensor.dtype for tensor in tensors] == [torch.int32, torch.float32, torch.float32]


def test_products_that_a_joint_one_would_change_stay_apart(torch, traced):
    """Of other rows or dtypes; returned as they are; with a residual; of a weight that another group has."""
    from vertebra_torch.kernels import joint

    a, b, c = parameters(torch, 6, 6, 6)
    cases = [
        lambda x: ((x @ a) * 2, ((x + 1) @ b) * 2),
        lambda x: (x @ a, x @ b),
        lambda x: ((x @ a) * 2, x @ b + x),
        lambda x: ((x @ a) * 2, (x @ b) * 2, ((x + 1) @ a) * 2, ((x + 1) @ c) * 2),
        lambda x: ((x @ a).mul_(2), (x @ b).mul_(2)),
        lambda x: (torch.as_strided(x @ a, (2, 2), (6, 1)) * 2, (x @ b) * 2),
    ]
    for function in cases:
        x = torch.randn(5, 6)
        graph, call = traced(function, x)
        assert joint.products not in targets(graph)
        for found, expected in zip(call(x), function(x), strict=True):
            assert same(torch, found, expected)
            assert found.is_contiguous()


def test_a_part_may_be_flattened(torch, traced, chosen):
    """Its values are not in order in memory."""
    first, second = parameters(torch, 4, 8)

    def function(x):
        return (x @ first).view(-1) * 2, (x @ second).view(2, -1) * 2

    x = torch.randn(6, 6)
    _, call = traced(function, x)
    for found, expected in zip(call(x), function(x), strict=True):
        assert same(torch, found, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gemma(torch, chosen, dtype):
    gemma = pytest.importorskip("vertebra_gemma.backbone", reason="needs the plugin of Gemma")
    backbone = gemma.GemmaBackbone(
        vocabulary_size=40,
        num_layers=1,
        num_query_heads=4,
        num_key_value_heads=2,
        hidden_dim=16,
        intermediate_dim=64,
        head_dim=8,
        dtype=dtype,
    )
    for name in ("a", None):
        if name:
            backbone.enable_lora(2, name=name)
        for variable in backbone.trainable_weights:
            variable.assign(np.random.default_rng(1).normal(size=variable.shape) * 0.2)
    compiled = vertebra.compile(backbone)
    for rows, length in [(3, 5), (2, 9)]:
        mask = np.ones((rows, length), "int32")
        mask[0, :2] = 0
        inputs = {"token_ids": np.arange(rows * length).reshape(rows, length) % 40, "padding_mask": mask}
        expected = backbone(inputs).detach().float()
        for function in (compiled, compiled.packed()):
            found = function(inputs).float()
            assert float((found - expected).abs().max()) < (1e-5 if dtype == "float32" else 0.15)


# === Equal calls ===


def test_equal_calls_are_made_once(torch, traced):
    def function(x):
        masks = [torch.where(x > 0, torch.tensor(-3.0), torch.zeros(())) for _ in range(3)]
        return sum(mask.sum() * n for n, mask in enumerate(masks))

    x = torch.randn(4, 5)
    graph, call = traced(function, x)
    assert targets(graph).count(torch.ops.aten.where.self) == 1
    assert same(torch, call(x), function(x))


def test_the_index_of_writes_is_computed_once(torch, traced):
    def function(first, second, start):
        numbers = torch.arange(1)
        rows = torch.ones(1, 3)
        return first.index_copy_(0, start + numbers, rows), second.index_copy_(0, start + numbers, rows)

    start = torch.tensor(2)
    graph, call = traced(function, torch.zeros(4, 3), torch.zeros(4, 3), start)
    assert targets(graph).count(torch.ops.aten.add.Tensor) + targets(graph).count(torch.ops.aten.add_.Tensor) == 1
    found = call(torch.zeros(4, 3), torch.zeros(4, 3), start)
    assert [tensor.sum(1).tolist() for tensor in found] == [[0, 0, 3, 0]] * 2


def test_views_of_views_are_left_out(torch, traced):
    aten = torch.ops.aten

    def function(x):
        turned = aten.transpose.int(aten.permute.default(x, [0, 2, 1, 3]), -3, -2)
        other = aten.permute.default(aten.permute.default(x, [1, 2, 0, 3]), [1, 2, 0, 3])
        return aten.view.default(aten.view.default(turned, [6, 20]), [24, 5]) * 2, other * 3

    x = torch.randn(2, 3, 4, 5)
    graph, call = traced(function, x)
    assert [targets(graph).count(each) for each in (aten.view.default, aten.transpose.int)] == [1, 0]
    assert targets(graph).count(aten.permute.default) == 2
    assert all(map(torch.equal, call(x), function(x)))


def test_numbers_of_other_types_and_signs_are_not_equal(torch, traced):
    def function(x):
        return x.float() / 0.0 + x.float() / -0.0, (x + 1) * 2.0, (x + 1.0) * 2.0

    x = torch.ones(3, dtype=torch.int32)
    _, call = traced(function, x)
    for found, expected in zip(call(x), function(x), strict=True):
        assert torch.equal(
            found,
            expected,
        ) or (found.isnan().all() and expected.isnan().all())
        assert found.dtype == expected.dtype


def test_values_before_and_after_a_write_are_not_equal(torch, traced):
    def function(x):
        y = x * 3
        before = y.sin()
        y.add_(1)
        return before, y.sin(), (x * 3).cos()

    x = torch.randn(4)
    _, call = traced(function, x)
    for found, expected in zip(call(x), function(x), strict=True):
        assert torch.equal(found, expected)


def test_random_numbers_are_not_equal(torch, traced):
    _, call = traced(lambda x: (torch.rand_like(x) + x, torch.rand_like(x) + x), torch.zeros(50))
    first, second = call(torch.zeros(50))
    assert not torch.equal(first, second)


def test_outputs_do_not_share_memory(torch, traced):
    """Who writes to one does not change the other."""
    _, call = traced(lambda x: (x.exp(), x.exp()), torch.zeros(4))
    first, second = call(torch.zeros(4))
    first.zero_()
    assert torch.equal(second, torch.ones(4))


# === Memory that is free ===


def test_a_result_is_written_to_an_operand_that_is_not_needed_any_more(torch, traced):
    aten = torch.ops.aten

    def function(x, y):
        return torch.nn.functional.silu(x.exp()).view(-1) * y.view(-1) + 2

    x, y = torch.randn(4, 5), torch.randn(4, 5)
    graph, call = traced(function, x, y)
    assert {aten.silu_.default, aten.mul_.Tensor, aten.add_.Tensor} <= set(targets(graph))
    assert torch.equal(call(x, y), function(x, y))


@pytest.mark.parametrize(
    "function",
    [
        lambda t, x, w: x * 2,  # an argument
        lambda t, x, w: w * x,  # a weight
        lambda t, x, w: (x.view(-1)[::2] + 1, x.t() + 1),  # views of an argument
        lambda t, x, w: (y := x.exp(), y * 2),  # returned itself
        lambda t, x, w: ((y := x.exp()) * 2, y.t()),  # a view of it is returned
        lambda t, x, w: (y := x.exp(), (y.view(-1) * 2).sum() + y.sum()),  # used later
        lambda t, x, w: (lambda y: y * y.t())(x.exp()),  # the other operand is another view of it
        lambda t, x, w: (lambda y: y.expand(6, 6) * x)(x[:1].exp()),  # elements that are there several times
        lambda t, x, w: x[:1].exp() * x,  # a smaller operand
        lambda t, x, w: (x > 0).float().to(t.int32) * x,  # of another dtype
        lambda t, x, w: (lambda y: (y[:3] * 2, y[1:] + y[:5]))(x.exp()),  # parts that overlap
        lambda t, x, w: (lambda y: ((y.split(3)[0] * 2), y.split(3)[0] * 3))(x.exp()),  # a part that is used twice
        lambda t, x, w: (lambda y: y - y.relu())(x.exp()),
        lambda t, x, w: (x.exp().t() * 2).contiguous().view(-1),
        lambda t, x, w: (lambda y: y * y)(x.exp()),  # both operands; in place it is the same
        lambda t, x, w: 3 - x.exp() * 1.0 / w,
    ],
)
@pytest.mark.parametrize("for_all_shapes", [False, True])
def test_nothing_that_is_needed_is_written_to(torch, traced, function, for_all_shapes):
    w = torch.nn.Parameter(torch.randn(6, 6))
    x = torch.randn(6, 6)
    kept, weight = x.clone(), w.detach().clone()
    _, call = traced(lambda x: function(torch, x, w), x, for_all_shapes=for_all_shapes)
    for _ in range(2):
        found, expected = call(x), function(torch, x, w)
        pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
        for one, other in pairs:
            assert torch.allclose(one, other.detach())
            assert one.stride() == other.stride()
    assert torch.equal(x, kept)
    assert torch.equal(w.detach(), weight)


def test_the_sum_after_a_sum_is_computed_with_the_product(torch, traced):
    """As in layers that normalise first: the second residual is the result of the first sum."""
    from vertebra_torch.kernels import dense

    first, second = parameters(torch, 6, 6)

    def function(x):
        x = x + x.sin() @ first
        return x + x.sin() @ second

    x = torch.randn(3, 4, 6)
    graph, call = traced(function, x)
    assert [node.args[4] is not None for node in graph.nodes if node.target is dense.product] == [True, True]
    assert same(torch, call(x), function(x))


# === The approximate GELU ===


@pytest.mark.parametrize("shape", [(3, 5), (300, 700), (0, 4), (4, 0), (2, 70000)])
def test_the_approximate_gelu_is_torch_s(torch, shape):
    from vertebra_torch.kernels.gelu import approximate_

    x = torch.randn(*shape) * 4
    expected = torch.nn.functional.gelu(x.double(), approximate="tanh").float()
    found = approximate_(x)
    assert found is x
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_approximate_gelu_of_extremes_is_torch_s(torch):
    from vertebra_torch.kernels.gelu import approximate_

    x = torch.tensor([[float("inf"), float("nan"), 1e30, -1e30, 0.0, -0.0, 1e-40]])
    expected = torch.nn.functional.gelu(x, approximate="tanh")
    assert torch.allclose(approximate_(x.clone()), expected, equal_nan=True)


def test_the_approximate_gelu_of_a_part(torch):
    """Nothing else of the tensor changes."""
    from vertebra_torch.kernels.gelu import approximate_

    x = torch.randn(5, 8)
    kept = x.clone()
    approximate_(x[:, 2:5])
    assert torch.allclose(x[:, 2:5], torch.nn.functional.gelu(kept[:, 2:5], approximate="tanh"), atol=1e-6)
    assert torch.equal(x[:, :2], kept[:, :2])
    assert torch.equal(x[:, 5:], kept[:, 5:])


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_the_approximate_gelu_of_other_floats_is_torch_s_own(torch, dtype):
    from vertebra_torch.kernels.gelu import approximate_

    x = torch.randn(3, 5, dtype=getattr(torch, dtype))
    expected = torch.nn.functional.gelu(x, approximate="tanh")
    assert torch.equal(approximate_(x), expected)
