"""Compiled functions on torch: one graph for all shapes, and fused calls of the fastest kernels."""

import gc
import time
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


@pytest.fixture(autouse=True)
def no_choices(monkeypatch):
    """No kernel was chosen before the test; none is kept after it."""
    from vertebra_torch.kernels import choices

    monkeypatch.setattr(choices, "_known", {})
    monkeypatch.setattr(choices, "_is_read", False)
    monkeypatch.setattr(choices, "_is_changed", False)
    monkeypatch.setattr(choices, "runtime_folder", lambda name: None)


@pytest.fixture
def choose(monkeypatch):
    """Returns a function that makes a kernel the fastest, whatever is on this machine."""
    from vertebra_torch.kernels import measuring

    def fastest(name):
        monkeypatch.setattr(measuring, "_HOPELESS", float("inf"))
        monkeypatch.setattr(
            measuring, "fastest", lambda seconds, gains: name if name in seconds else next(iter(seconds))
        )

    return fastest


@pytest.fixture
def packed(choose):
    """Every weight is packed, whatever is faster on this machine."""
    choose("packed")


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that are traced during a test."""
    from vertebra_torch.graphs import tracing

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


# === Fused calls ===


def nodes(graph):
    """Returns the nodes of a fused graph."""
    return list(graph.fused.call.__self__.graph.nodes)


def fused_calls(graph):
    """Returns the fused calls of a graph: whether each has a bias, its activation, and how many add a residual."""
    from vertebra_torch.kernels import dense

    calls = [node for node in nodes(graph) if node.target is dense.product]
    products = [(node.args[3] is not None, node.args[5]) for node in calls if node.args[4] is None]
    return products, len(calls) - len(products)


def joint_calls(graph):
    """Returns how many products each joint call of a graph computes."""
    from vertebra_torch.kernels import joint

    return [len(node.args[1]) for node in nodes(graph) if node.target is joint.products]


def test_a_fused_layer_makes_four_kernel_calls_of_products(still, sized, graphs, packed):
    compiled = vertebra.compile(still).packed()
    assert error(compiled, still, sized(3, 8)) < 1e-6
    assert error(compiled, still, sized(5, 6)) < 1e-6
    products, sums = fused_calls(graphs[0])
    layers = still.num_layers
    assert sums == 2 * layers  # output of the attention, and of the feed-forward layers
    assert products.count((True, "gelu")) == layers
    assert products.count((True, "none")) == 1  # the pooled output
    assert joint_calls(graphs[0]) == [3] * layers  # query, key and value
    left = {node.target for node in nodes(graphs[0])}
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


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kernel", ["own", "plain", "packed", "widened", "widened packed"])
def test_floats_of_16_bits(torch, arguments, sized, choose, dtype, kernel):
    choose(kernel)
    backbone = vertebra.models.BertBackbone(**arguments | {"dropout": 0.0}, dtype=dtype)
    compiled = vertebra.compile(backbone).packed()
    assert error(compiled, backbone, sized(3, 8)) < 0.1
    assert compiled(sized(3, 8))["sequence_output"].dtype == getattr(torch, dtype)


def test_each_weight_is_packed_once(still, sized, packed, graphs, monkeypatch):
    """Graphs for other shapes use the same copies."""
    from vertebra_torch.kernels import packing

    weights, pack = [], packing.pack
    monkeypatch.setattr(packing, "pack", lambda *group: weights.append(group) or pack(*group))
    compiled = vertebra.compile(still).packed()
    for shape in [(3, 8), (1, 5), (4, 1), (1, 1)]:
        assert error(compiled, still, sized(*shape)) < 1e-6
    assert len(graphs) > 1
    assert len(weights) == 4 * still.num_layers + 1  # query, key and value have one


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


# === The choice of a kernel ===


@pytest.mark.parametrize("kernel", ["own", "plain", "packed"])
@pytest.mark.parametrize("function", ["compiled", "packed"])
def test_each_kernel_computes_the_same(kernel, function, still, sized, choose):
    choose(kernel)
    compiled = vertebra.compile(still)
    assert error(compiled.packed() if function == "packed" else compiled, still, sized(3, 8)) < 1e-6


def test_a_function_that_is_not_packed_has_the_weights_of_each_call(still, sized, choose):
    compiled, inputs = vertebra.compile(still), sized(3, 8)
    for kernel in ("own", "plain"):
        choose(kernel)
        for variable in still.weights:
            variable.assign(variable.value * 0.5)
        assert error(compiled, still, inputs) < 1e-6


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"own": 1.0, "plain": 2.0, "packed": 2.0}, "own"),
        ({"own": 1.0, "plain": 0.5, "packed": 0.48}, "plain"),  # a copy must be worth its memory
        ({"own": 1.0, "plain": 0.5, "packed": 0.3}, "packed"),
        ({"own": 1.0, "plain": 0.99}, "own"),
        ({"own": 1.0, "plain": 0.5}, "plain"),
    ],
)
def test_the_fastest_kernel_is_chosen(seconds, chosen):
    from vertebra_torch.kernels import dense, measuring

    assert measuring.fastest(seconds, dense._GAIN) == chosen


@pytest.fixture
def measured(monkeypatch):
    """The arguments of each call that was measured; oneDNN's plain kernel was the fastest."""
    from vertebra_torch.kernels import dense

    calls = []
    monkeypatch.setattr(dense, "_seconds", lambda call, names: calls.append(call) or {"own": 1.0, "plain": 0.1})
    return calls


def dense(rows, width=6):
    """Runs a compiled dense layer."""
    inputs = keras.Input((width,))
    model = keras.Model(inputs, {"x": keras.layers.Dense(4)(inputs)})
    x = np.ones((rows, width), "float32")
    assert error(vertebra.compile(model), model, x) < 1e-6


def test_a_kernel_is_measured_once_for_numbers_of_rows_like_it(measured):
    for rows in (8, 15, 9, 8):
        dense(rows)
    assert len(measured) == 1
    dense(16)
    dense(16, width=5)
    assert len(measured) == 3


def test_choices_are_kept_for_later_processes(measured, monkeypatch, tmp_path):
    from vertebra_torch.kernels import choices

    monkeypatch.setattr(choices, "runtime_folder", lambda name: tmp_path / "new" / "folder")
    dense(8)
    file = tmp_path / "new" / "folder" / "kernels.json"
    assert [path.name for path in file.parent.iterdir()] == ["kernels.json"]

    def in_another_process(text):
        file.write_text(text)
        monkeypatch.setattr(choices, "_known", {})
        monkeypatch.setattr(choices, "_is_read", False)
        count = len(measured)
        dense(8)
        return len(measured) - count

    kept = file.read_text()
    assert in_another_process(kept) == 0
    assert in_another_process(kept.replace("torch 2", "torch 1")) == 1  # of another machine
    for damaged in ("", "[]", "{}", "[" * 5000, kept[:-9], kept.replace('"plain"', "3"), kept.replace("plain", "fast")):
        assert in_another_process(damaged) == 1


def test_choices_of_other_processes_are_kept_too(measured, monkeypatch, tmp_path):
    import json

    from vertebra_torch.kernels import choices

    monkeypatch.setattr(choices, "runtime_folder", lambda name: tmp_path)
    dense(8)
    (of_other,) = json.loads((tmp_path / "kernels.json").read_text())["kernels"]
    monkeypatch.setattr(choices, "_known", {})  # as in a process that began before the file was written
    dense(16)
    assert of_other in json.loads((tmp_path / "kernels.json").read_text())["kernels"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_write_that_fails_leaves_no_file(measured, monkeypatch, tmp_path):
    from pathlib import Path

    from vertebra_torch.kernels import choices

    def refuse(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(choices, "runtime_folder", lambda name: tmp_path)
    monkeypatch.setattr(Path, "replace", refuse)
    dense(8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [None, "file"])
def test_without_a_folder_kernels_are_measured_in_each_process(folder, measured, monkeypatch, tmp_path):
    from vertebra_torch.kernels import choices

    (tmp_path / "file").touch()
    monkeypatch.setattr(choices, "runtime_folder", lambda name: folder and tmp_path / folder)
    dense(8)
    assert len(measured) == 1


def test_torch_s_own_kernel_is_used_where_others_have_none(torch, measured):
    from vertebra_torch.kernels import dense

    def product(weight, rows=3):
        x = torch.ones(rows, weight.shape[0], dtype=weight.dtype)
        assert torch.equal(dense.product(x, weight, None, None, None, "none", ""), x @ weight)

    product(torch.ones(24, 40, dtype=torch.float64))
    product(torch.ones(24, 0))
    product(torch.ones(24, 40), rows=0)
    torch.use_deterministic_algorithms(True)
    try:
        product(torch.ones(24, 40))
    finally:
        torch.use_deterministic_algorithms(False)
    assert not measured
    product(torch.ones(24, 40))
    assert len(measured) == 1


def test_columns_of_a_wider_weight_are_another_kind(torch, measured):
    """As in GPT-2: oneDNN's plain kernel takes a hundred times as long for them."""
    from vertebra_torch.kernels import dense

    for weight in (torch.ones(40, 24).t(), torch.ones(24, 80)[:, :40]):
        x = torch.ones(3, 24)
        assert torch.equal(dense.product(x, weight, None, None, None, "none", ""), x @ weight)
    assert dense.usable(torch.ones(24, 80)[:, :40], None) == ("own",)
    assert len(measured) == 1


@pytest.fixture
def called(monkeypatch):
    """The names of the kernels that are called, of which the last one is slow."""
    from vertebra_torch.kernels import dense

    calls = []

    def kernel(name, seconds):
        def compute(rows, *_):
            calls.append((name, len(rows)))
            end = time.thread_time() + seconds
            while time.thread_time() < end:
                pass

        return compute

    monkeypatch.setattr(dense, "KERNELS", {"a": kernel("a", 0), "b": kernel("b", 0), "slow": kernel("slow", 0.01)})
    return calls


def test_kernels_are_measured_in_turn(torch, called):
    from vertebra_torch.kernels import dense, measuring

    seconds = dense._seconds((torch.ones(8, 2), None, None, None, None, "none", ""), ["a", "b"])
    assert seconds.keys() == {"a", "b"}
    assert called == [("a", 8), ("b", 8)] * (1 + measuring._REPETITIONS)


def test_a_kernel_that_is_hopeless_for_few_rows_is_not_measured_for_many(torch, called):
    from vertebra_torch.kernels import dense

    rows = torch.ones(100, 2)
    seconds = dense._seconds((rows, None, None, None, rows, "none", ""), ["a", "slow"])
    assert seconds.keys() == {"a"}
    assert ("slow", 8) in called
    assert ("slow", 100) not in called


# === Costs of a first call ===


@pytest.fixture
def traced(arguments, sized, monkeypatch):
    """Returns a function that compiles a BERT with a number of layers, and returns its graph."""
    from vertebra_torch.graphs import tracing

    graphs, trace = [], tracing.trace
    monkeypatch.setattr(tracing, "trace", lambda *args, **options: graphs.append(trace(*args, **options)) or graphs[-1])

    def compile_layers(layers):
        vertebra.compile(vertebra.models.BertBackbone(**arguments | {"num_layers": layers}))(sized(2, 4))
        return graphs[-1]

    return compile_layers


def test_fusing_searches_the_graph_as_often_for_any_number_of_products(traced, monkeypatch, torch):
    searches, search = [], torch.fx.Graph.eliminate_dead_code

    def counting(graph, *arguments):
        searches.append(graph)
        return search(graph, *arguments)

    monkeypatch.setattr(torch.fx.Graph, "eliminate_dead_code", counting)
    counts = []
    for layers in (1, 4):
        searches.clear()
        traced(layers)
        counts.append(len(searches))
    assert counts[0] == counts[1]


def test_values_of_a_trace_share_one_mode(traced):
    """A mode of its own for each value takes a third of the time of a trace."""
    values = [node.meta.get("val") for node in traced(1)._module.graph.nodes]
    modes = {id(value.fake_mode) for value in values if hasattr(value, "fake_mode")}
    assert len(modes) == 1
