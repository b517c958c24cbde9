"""What every runtime must do; run once for each, in a process of its own."""

import gc
import hashlib
import mmap
import sys
import weakref
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture
def adapter(runtime):
    """The runtime under test."""
    return vertebra.use(runtime)


def aligned(array):
    """Returns a copy of an array whose values start at a multiple of 64 bytes."""
    space = np.zeros(array.nbytes + 64, "uint8")
    start = -space.ctypes.data % 64
    copy = space[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def array_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


# === Availability and devices ===


def test_the_runtime_is_available_and_bound(adapter, runtime):
    assert adapter.name == runtime == keras.config.backend()
    assert adapter.unavailable_reason() is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/meminfo tells how much there is")
def test_a_processors_memory_is_that_of_the_machine(adapter):
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    processors = [device for device in adapter.devices() if device.kind == "cpu"]
    for device in processors:
        assert device.memory_bytes == total
        assert 0 < device.free_bytes <= total


# === Tensors ===


DTYPES = ["float32", "float16", "bfloat16", "int32", "int8", "uint8", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_aligned_array_is_viewed_and_keeps_its_values(adapter, address, dtype):
    array = aligned(np.arange(-6, 6).astype(getattr(ml_dtypes, dtype, None) or dtype).reshape(3, 4))
    tensor = adapter.tensor(array, dtype)
    assert keras.backend.standardize_dtype(tensor.dtype) == dtype
    assert tuple(tensor.shape) == (3, 4)
    wide = array_of(keras.ops.cast(tensor, "float32"))
    assert np.array_equal(wide, array.astype("float32"))
    assert address(tensor) == array.ctypes.data


def test_writing_to_a_tensor_never_reaches_the_file(adapter, tmp_path, runtime):
    path = tmp_path / "values"
    np.ones(4096, "float32").tofile(path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    variable = keras.Variable(adapter.tensor(np.frombuffer(memory, "float32"), "float32"))
    if runtime == "torch":  # whose tensors can be written in place
        adapter.tensor(np.frombuffer(memory, "float32"), "float32").add_(1)
    variable.assign_add(np.ones(4096))
    assert variable.numpy()[0] > 1
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


# === Compiling ===


@pytest.fixture
def still(golden):
    """The reference BERT without dropout: its layers are alike, and hold weights alone."""
    return vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0, attention_dropout=0.0)


@pytest.fixture
def agrees(run):
    """Says whether a compiled function computes what its backbone computes, to a part in a million."""

    def compare(compiled, backbone, inputs):
        expected, found = run(backbone, inputs), keras.tree.map_structure(array_of, compiled(inputs))
        assert found.keys() == expected.keys()
        return all(np.abs(found[name] - expected[name]).max() <= 1e-5 for name in expected)

    return compare


def test_compiled_equals_the_forward_pass(backbone, inputs, agrees):
    compiled = vertebra.compile(backbone)
    assert agrees(compiled, backbone, inputs)
    assert agrees(compiled, backbone, {name: array[::-1].copy() for name, array in inputs.items()})


def test_compiled_takes_tensors_and_returns_tensors(backbone, inputs, agrees):
    compiled = vertebra.compile(backbone)
    tensors = {name: keras.ops.convert_to_tensor(array) for name, array in inputs.items()}
    assert all(keras.ops.is_tensor(value) for value in compiled(tensors).values())
    assert agrees(compiled, backbone, tensors)


def test_compiled_never_drops_out(golden, inputs, agrees):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.5)
    assert agrees(vertebra.compile(backbone), backbone, inputs)


def test_compiled_follows_later_changes_of_the_weights(still, inputs, agrees, train, run):
    compiled = vertebra.compile(still)
    before = array_of(compiled(inputs)["pooled_output"])
    train(still)
    assert agrees(compiled, still, inputs)
    assert not np.array_equal(run(still)["pooled_output"], before)
    still.get_layer("pooled_dense").bias.assign(np.full(16, 3.0))
    assert agrees(compiled, still, inputs)


def test_compiled_follows_what_trains(still, inputs, agrees):
    first, second = still.get_layer("transformer_layer_0"), still.get_layer("transformer_layer_1")
    first.trainable = False
    compiled = vertebra.compile(still)
    assert agrees(compiled, still, inputs)
    first.trainable, second.trainable = True, False  # as many variables of the same shapes as before
    assert agrees(compiled, still, inputs)


def test_compiled_is_traced_anew_for_other_shapes(still, inputs, agrees):
    compiled = vertebra.compile(still)
    assert agrees(compiled, still, inputs)
    assert agrees(compiled, still, {name: array[:1, :4] for name, array in inputs.items()})
    assert agrees(compiled, still, inputs)


def test_compiled_is_traced_anew_when_an_adapter_is_attached(still, inputs, agrees, run):
    compiled = vertebra.compile(still)
    before = array_of(compiled(inputs)["pooled_output"])
    still.enable_lora(2)
    for variable in still.trainable_weights:
        variable.assign(np.full(variable.shape, 0.3))
    assert agrees(compiled, still, inputs)
    assert np.abs(run(still)["pooled_output"] - before).max() > 1e-3


def test_compiled_keeps_the_dtype(golden, inputs):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dtype="bfloat16")
    outputs = vertebra.compile(backbone)(inputs)
    assert {keras.backend.standardize_dtype(value.dtype) for value in outputs.values()} == {"bfloat16"}


def test_any_functional_model_can_be_compiled():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    data = np.ones((3, 4), "float32")
    assert np.allclose(array_of(vertebra.compile(model)(data)), array_of(model(data)), atol=1e-6)


def test_compiled_does_not_change_the_backbone(still, inputs, values, agrees):
    before = values(still)
    compiled = vertebra.compile(still)
    compiled(inputs)
    after = values(still)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert still.trainable_weights
    assert all(getattr(variable.value, "requires_grad", True) for variable in still.trainable_weights)


def test_a_compiled_backbone_takes_inputs_by_their_names_however_they_come(backbone, inputs, run):
    compiled = vertebra.compile(backbone)
    expected = run(backbone)["sequence_output"]
    turned = dict(reversed(inputs.items()))
    for given in (inputs, turned, inputs):
        assert np.allclose(keras.ops.convert_to_numpy(compiled(given)["sequence_output"]), expected, atol=1e-5)
    with pytest.raises(ValueError):  # as without compiling
        compiled({f"wrong_{name}": array for name, array in inputs.items()})


def test_what_was_compiled_for_variables_that_are_forgotten_is_freed(runtime):
    if runtime != "jax":
        pytest.skip("jax keeps programs by the function that they were compiled of")
    from vertebra_jax.compiling import _KEPT, VariableSets

    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    sets = VariableSets(model)
    program = sets.program(model.variables)
    program([variable.value for variable in model.variables], np.ones((2, 6), "float32"))
    compiled = weakref.ref(program.__wrapped__)
    del program
    for _ in range(_KEPT):
        assert compiled() is not None
        sets.program([keras.Variable(0.0)])
    gc.collect()
    assert compiled() is None


# === The class of backbones ===


@pytest.fixture
def dropping(arguments):
    """A tiny BERT with dropout, of which two calls differ if it is applied."""
    return vertebra.models.BertBackbone(**arguments | {"dropout": 0.5})


@pytest.fixture
def drops(inputs):
    """Says whether a model applies dropout."""

    def differ(model, inputs=inputs, **arguments):
        one, other = (keras.tree.flatten(model(inputs, **arguments))[0] for _ in range(2))
        return not np.array_equal(array_of(one), array_of(other))

    return differ


@pytest.fixture
def torch_only(runtime):
    if runtime != "torch":
        pytest.skip("only on torch a backbone is a module")


def test_train_and_eval_mean_what_they_do_in_torch(torch_only, dropping, drops):
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = dropping

        def forward(self, inputs):
            return self.backbone(inputs)["pooled_output"]

    outer = Classifier()
    assert not drops(dropping)  # Keras's default
    assert outer.train() is outer
    assert drops(outer)
    assert drops(dropping)
    assert not drops(dropping, training=False)
    assert dropping.eval() is dropping
    assert not drops(outer)
    assert drops(dropping, training=True)


def test_within_another_keras_model_that_one_says_whether_it_trains(torch_only, dropping, drops):
    dropping.train()
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in dropping.input}
    outer = keras.Model(inputs, dropping(inputs)["pooled_output"])
    assert not drops(outer)
    assert drops(outer, training=True)
    dropping.eval()
    assert drops(outer, training=True)


@pytest.fixture(params=["backbone", "holder", "module"])
def fitted(request, dropping, torch_only):
    """A model that Keras fits: the backbone, one that holds it, and one that holds it in a module of torch's."""
    import torch

    class Holder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = dropping

        def train(self, mode=True):
            return super().train(mode)

    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.held = dropping if request.param == "holder" else Holder()
            self.head = keras.layers.Dense(1)

        def call(self, inputs, training=None):
            return self.head(dropping(inputs, training=training)["pooled_output"])

    model = dropping if request.param == "backbone" else Classifier()
    model.compile("sgd", "mse", run_eagerly=True)
    return model


@pytest.fixture
def fit(fitted, inputs):
    """Fits the model on one batch, and calls a function after it."""

    def run(then):
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: then())
        targets = keras.tree.map_structure(lambda out: np.zeros(out.shape, "float32"), fitted(inputs))
        fitted.fit(inputs, targets, verbose=0, callbacks=[callback])

    return run


@pytest.mark.parametrize("chosen", [None, True, False])
def test_what_keras_fits_keeps_the_mode_that_was_chosen(fitted, fit, dropping, drops, inputs, chosen):
    seen = []
    if chosen is not None:
        fitted.train(chosen)
    flag = dropping.training
    fit(lambda: seen.append(drops(dropping)))
    assert seen == [bool(chosen)]
    fitted.predict(inputs, verbose=0)
    assert (drops(dropping), dropping.training) == (bool(chosen), flag)


def test_a_fit_that_is_interrupted_leaves_no_mode_behind(fitted, fit, dropping, drops, inputs):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(interrupt)
    assert not drops(dropping)
    dropping.enable_lora(2, name="a")
    assert dropping(inputs, adapters="a")


def test_a_mode_that_is_chosen_within_fit_counts(fitted, fit, dropping, drops):
    fit(dropping.train)
    assert drops(dropping)


@pytest.mark.parametrize("change", ["half", "bfloat16", "double", "to", "inside"])
def test_another_dtype_is_refused_and_nothing_is_changed(torch_only, arguments, inputs, change):
    import torch

    backbone = vertebra.models.BertBackbone(**arguments)
    before = array_of(backbone(inputs)["pooled_output"])
    outer = torch.nn.Sequential(backbone)
    changes = {"to": lambda: backbone.to(torch.float16), "inside": outer.half}
    with pytest.raises(vertebra.errors.DtypeChangeError, match="the policy 'float32'") as caught:
        changes.get(change, lambda: getattr(backbone, change)())()
    assert f"dtype={caught.value.wanted!r}" in str(caught.value)
    assert {parameter.dtype for parameter in backbone.parameters() if parameter.is_floating_point()} == {torch.float32}
    assert np.array_equal(array_of(backbone(inputs)["pooled_output"]), before)


def test_the_same_dtype_and_other_places_are_as_in_torch(torch_only, arguments, inputs):
    backbone = vertebra.models.BertBackbone(**arguments)
    for change in (backbone.float, lambda: backbone.to("cpu"), backbone.cpu, lambda: backbone.requires_grad_(False)):
        assert change() is backbone
    half = vertebra.models.BertBackbone(**arguments, dtype="bfloat16")
    assert half.bfloat16() is half
    with pytest.raises(vertebra.errors.DtypeChangeError):
        half.float()


def test_unknown_arguments_of_a_call_are_refused(arguments, inputs):
    backbone = vertebra.models.BertBackbone(**arguments)
    with pytest.raises(TypeError, match="no argument 'output_hidden_states'; it takes inputs, training, mask and adap"):
        backbone(inputs, output_hidden_states=True)
    with pytest.raises(TypeError, match="did you mean 'training'"):
        backbone(inputs, trainin=True)


# === Copies and tracing ===


def test_a_snapshot_and_an_assigned_value_share_no_memory(adapter, address):
    one, other = (keras.Variable(np.full((64, 64), value, "float32")) for value in (1, 2))
    kept = adapter.snapshot(one.value)
    adapter.assign(other, one.value)
    assert len({address(tensor) for tensor in (kept, one.value, other.value)}) == 3
    assert np.array_equal(array_of(other), array_of(kept))


def test_a_runtime_knows_whether_a_function_is_being_traced(adapter, runtime):
    assert not adapter.is_tracing()
    if runtime == "jax":
        import jax

        seen = []
        jax.jit(lambda x: seen.append(adapter.is_tracing()) or x)(1.0)
        assert seen == [True]


class Counting(keras.layers.Layer):
    """Passes its inputs on, and counts how often it was asked to."""

    calls = 0

    def call(self, inputs):
        type(self).calls += 1
        return inputs + 0


def test_a_compiled_function_that_many_threads_call_at_once_fails_in_none(runtime):
    """On torch one of them traces; jax may trace in several, which does no harm."""
    import threading
    from concurrent.futures import ThreadPoolExecutor

    inputs = np.random.default_rng(0).normal(size=(2, 6)).astype("float32")
    for _ in range(5):
        layers = [keras.layers.Dense(5, name="up"), Counting(), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input((6,)), *layers])
        expected = array_of(model(inputs))
        compiled, barrier = vertebra.compile(model), threading.Barrier(4)
        Counting.calls = 0

        def call(_, compiled=compiled, barrier=barrier):
            barrier.wait()
            return array_of(compiled(inputs))

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(call, range(4)))
        assert all(np.abs(each - expected).max() <= 1e-6 for each in found)
        assert Counting.calls == 1 or runtime == "jax"
