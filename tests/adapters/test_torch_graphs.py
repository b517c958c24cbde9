"""Compiled functions on torch: one graph for all shapes, and fused graphs for weights that do not change."""

import gc
import weakref

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def only_on_torch(torch):
    """Skips the tests on other runtimes."""


@pytest.fixture
def still(arguments):
    """A tiny BERT with the exact GELU, without dropout."""
    return vertebra.models.BertBackbone(**arguments | {"dropout": 0.0, "activation": "gelu"})


@pytest.fixture
def sized(still):
    """Returns inputs of a number of rows and tokens; some are padding."""

    def make(rows, length):
        mask = np.ones((rows, length), "int32")
        mask[0, (length + 1) // 2 :] = 0
        ids = np.arange(rows * length).reshape(rows, length) % still.vocabulary_size
        return {"token_ids": ids.astype("int32"), "padding_mask": mask, "segment_ids": np.zeros_like(mask)}

    return make


@pytest.fixture
def packed(monkeypatch):
    """Every weight is packed, whatever is faster on this machine."""
    from vertebra_torch import packing

    monkeypatch.setattr(packing, "_is_measured_faster", lambda *shape: True)


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that are traced during a test."""
    from vertebra_torch import tracing

    traced, trace = [], tracing.trace

    def noted(function, tensors, **options):
        traced.append(trace(function, tensors, **options))
        return traced[-1]

    monkeypatch.setattr(tracing, "trace", noted)
    return traced


def error(compiled, backbone, inputs):
    """The largest difference between the outputs of a compiled function and those of the model."""
    found, expected = compiled(inputs), backbone(inputs)
    return max(float((found[name] - expected[name]).detach().abs().max()) for name in expected)


def test_one_graph_serves_all_shapes_after_the_first(still, sized, graphs):
    compiled = vertebra.compile(still)
    assert all(error(compiled, still, sized(*shape)) < 1e-6 for shape in [(3, 8), (2, 5), (7, 16), (3, 8), (4, 4)])
    assert len(graphs) == 2


def test_a_function_and_its_packed_forms_share_graphs(still, sized, graphs):
    compiled = vertebra.compile(still)
    for function in (compiled, compiled.packed(), compiled.packed().packed()):
        function(sized(3, 8))
    assert len(graphs) == 1


def test_a_model_that_is_compiled_again_is_traced_again():
    """What else changes than weights is seen then, such as an activation."""
    inputs, dense = keras.Input((4,)), keras.layers.Dense(3, "relu")
    model = keras.Model(inputs, {"x": dense(inputs)})
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    vertebra.compile(model)(x)
    dense.activation = keras.activations.tanh
    assert error(vertebra.compile(model), model, x) < 1e-6


def test_sizes_of_one_have_graphs_of_their_own(still, sized, graphs):
    compiled = vertebra.compile(still)
    for shape in [(1, 8), (1, 5), (1, 1), (4, 1), (5, 4), (2, 7)]:
        assert error(compiled, still, sized(*shape)) < 1e-6
    assert len(graphs) == 5  # (1, 8), (1, n), (1, 1), (n, 1) and (n, n)


def test_a_shape_that_the_model_refuses_is_refused(still, sized):
    compiled = vertebra.compile(still)
    compiled(sized(3, 8))
    compiled(sized(3, 7))
    with pytest.raises(ValueError, match=f"this backbone has {still.max_sequence_length} positions"):
        compiled(sized(3, still.max_sequence_length + 1))


@keras.saving.register_keras_serializable("tests")
class Counted(keras.layers.Layer):
    """Needs the size of its inputs as a number."""

    def call(self, x):
        return x * float(np.prod(np.asarray(x.shape)))


@pytest.mark.parametrize("packs", [False, True])
def test_a_layer_that_needs_numbers_has_a_graph_for_each_shape(graphs, packs):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Counted()(inputs))
    compiled = vertebra.compile(model).packed() if packs else vertebra.compile(model)
    for rows in (2, 3, 2):
        x = np.ones((rows, 4), "float32")
        assert np.array_equal(compiled(x), model(x))
    assert len(graphs) == 2


def test_the_graphs_of_a_model_that_is_gone_are_freed(sized, arguments):
    backbone = vertebra.models.BertBackbone(**arguments)
    vertebra.compile(backbone).packed()(sized(3, 8))
    weight = weakref.ref(backbone.get_layer("pooled_dense").kernel)
    del backbone
    gc.collect()
    assert weight() is None


# === Weights that do not change ===


def fused_calls(graph):
    """Returns the fused kernel calls of a graph: whether each has a bias, its activation, and whether it adds."""
    from vertebra_torch import packing

    calls = [node for node in graph.fused.call.__self__.graph.nodes if node.op == "call_function"]
    products = [node for node in calls if node.target is packing.linear]
    sums = [node for node in calls if node.target is packing.linear_sum]
    return [(node.args[2] is not None, node.args[3]) for node in products], len(sums)


def test_a_fused_layer_makes_six_kernel_calls_of_products(still, sized, graphs, packed):
    compiled = vertebra.compile(still).packed()
    assert error(compiled, still, sized(3, 8)) < 1e-6
    assert error(compiled, still, sized(5, 6)) < 1e-6
    products, sums = fused_calls(graphs[0])
    layers = still.num_layers
    assert sums == 2 * layers  # output of the attention, and of the feed-forward layers
    assert products.count((True, "gelu")) == layers
    assert products.count((True, "none")) == 3 * layers + 1  # query, key and value; the pooled output
    left = {node.target for node in graphs[0].fused.call.__self__.graph.nodes}
    assert not left & {fused for fused in left if str(fused) in ("aten.mm.default", "aten.gelu.default")}


@pytest.mark.parametrize("activation", ["gelu", "gelu_approximate", "relu", "silu"])
@pytest.mark.parametrize("bias", [True, False])
def test_activations_are_the_models(packed, activation, bias):
    from vertebra import activations

    inputs = keras.Input((None, 6))
    function = activations.activation(activation)
    hidden = keras.layers.Dense(5, function, use_bias=bias, bias_initializer="normal")(inputs)
    model = keras.Model(inputs, {"x": keras.layers.Add()([keras.layers.Dense(6)(hidden), inputs])})
    x = np.random.default_rng(0).normal(size=(3, 4, 6)).astype("float32")
    assert error(vertebra.compile(model).packed(), model, x) < 1e-6


def test_a_sum_with_another_shape_is_not_fused_into_the_product(packed):
    """One row for all: the kernel would not broadcast it."""
    inputs, row = keras.Input((4, 6)), keras.Input((1, 6))
    dense = keras.layers.Dense(6, use_bias=False)
    model = keras.Model([inputs, row], {"x": keras.layers.Add()([dense(inputs), row])})
    x = [np.random.default_rng(0).normal(size=(3, n, 6)).astype("float32") for n in (4, 1)]
    assert error(vertebra.compile(model).packed(), model, x) < 1e-6


def test_a_product_that_is_used_twice_is_computed_for_both(packed):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(6)(inputs)
    model = keras.Model(inputs, {"hidden": hidden, "active": keras.ops.relu(hidden)})
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    assert error(vertebra.compile(model).packed(), model, x) < 1e-6


def test_a_layer_that_is_called_twice_has_one_packed_weight(packed, graphs):
    inputs, dense = keras.Input((6,)), keras.layers.Dense(6)
    model = keras.Model(inputs, {"x": dense(dense(inputs))})
    x = np.ones((3, 6), "float32")
    assert error(vertebra.compile(model).packed(), model, x) < 1e-6
    assert len(graphs[0].fused.weights) == 1


def test_each_function_has_the_weights_at_its_first_call(still, sized, packed):
    """A function for weights that do not change is packed again after they do."""
    inputs = sized(3, 8)
    vertebra.compile(still).packed()(inputs)
    for variable in still.weights:
        variable.assign(variable.value * 0.5)
    assert error(vertebra.compile(still).packed(), still, inputs) < 1e-6


def test_adapters_for_each_row(still, sized, packed):
    for name in ("a", "b"):
        still.enable_lora(2, name=name)
        for variable in still.trainable_weights:
            variable.assign(np.random.default_rng(ord(name)).normal(size=variable.shape) * 0.3)
    compiled = vertebra.compile(still).packed()
    inputs = sized(3, 8)
    expected = still(inputs, adapters=["a", "b", None])["sequence_output"]
    found = compiled(inputs, adapters=["a", "b", None])["sequence_output"]
    assert float((found - expected).detach().abs().max()) < 1e-5
    assert error(compiled, still, inputs) < 1e-5


def test_bfloat16(arguments, sized, packed):
    backbone = vertebra.models.BertBackbone(**arguments | {"dropout": 0.0}, dtype="bfloat16")
    assert error(vertebra.compile(backbone).packed(), backbone, sized(3, 8)) < 0.1


def test_each_weight_is_packed_once(still, sized, packed, graphs, monkeypatch):
    """Graphs for other shapes use the same copies."""
    from vertebra_torch import packing

    weights, pack = [], packing.pack
    monkeypatch.setattr(packing, "pack", lambda weight: weights.append(weight) or pack(weight))
    compiled = vertebra.compile(still).packed()
    for shape in [(3, 8), (1, 5), (4, 1), (1, 1)]:
        assert error(compiled, still, sized(*shape)) < 1e-6
    assert len(graphs) > 1
    assert len(weights) == 6 * still.num_layers + 1


def test_what_follows_a_change_of_shape_is_not_fused(packed):
    """The sum is of other axes than the product's."""
    inputs, dense = keras.Input((4,)), keras.layers.Dense(6, use_bias=False)
    shifted = keras.layers.Reshape((6, 1))(dense(inputs))

    class Shift(keras.layers.Layer):
        def build(self, shape):
            self.shift = self.add_weight(shape=(6,), initializer="normal")

        def call(self, x):
            return x + self.shift

    model = keras.Model(inputs, {"x": Shift()(shifted)})
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    assert error(vertebra.compile(model).packed(), model, x) < 1e-6


@pytest.mark.parametrize(("seconds", "faster"), [([1.0, 2.0], False), ([2.0, 1.0], True)])
def test_a_weight_is_packed_where_that_is_faster(torch, monkeypatch, seconds, faster):
    from vertebra_torch import packing

    measured = []
    monkeypatch.setattr(packing, "_least_seconds", lambda *functions: measured.append(functions) or seconds)
    packing._is_measured_faster.cache_clear()
    for _ in range(2):
        assert packing.is_faster(torch.ones(24, 40)) == faster
    assert len(measured) == 1
    packing._is_measured_faster.cache_clear()


def test_only_matrices_of_the_kernels_types_are_packed(torch, packed):
    from vertebra_torch import packing

    assert packing.is_faster(torch.ones(24, 40))
    for other in (torch.ones(24, 40, dtype=torch.float64), torch.ones(24), torch.ones(24, 0)):
        assert not packing.is_faster(other)


def test_the_measurement_itself():
    from vertebra_torch import packing

    calls = []
    one, other = packing._least_seconds(lambda: calls.append(1), lambda: calls.append(2))
    assert min(one, other) >= 0
    assert calls == [1, 2] * (1 + packing._REPETITIONS)  # in turn
