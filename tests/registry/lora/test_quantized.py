"""Adapters on quantised bases: train, save, load, merge into a float copy; for each quantisation mode."""

import keras
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import vertebra
from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.layers.linear_view import view_of
from vertebra._weights.layer_paths import layer_paths
from vertebra.errors import AdapterBaseError, AdapterMismatchError, LoraStateError, LoraTargetError

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")]
# pytestmark = pytest.mark.keras

int8, int4 = keras.quantizers.Int8QuantizationConfig, keras.quantizers.Int4QuantizationConfig
WAYS = {
    "int8": ("int8", lambda: None),
    "int8 weights": ("int8", lambda: int8(activation_quantizer=None)),
    "int4": ("int4", lambda: int4(block_size=None)),
    "int4 blocks": ("int4", lambda: int4(block_size=8)),
}
TARGETS = ["all-linear", "token_embedding"]


@pytest.fixture
def quantized(golden, monkeypatch):
    """Returns a function that loads the reference BERT, without dropout, and quantises it."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # Keras collects once for each layer, which takes most of the time

    def load(way):
        backbone = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0, attention_dropout=0.0)
        mode, config = WAYS[way]
        backbone.quantize(mode, config=config())
        return backbone

    return load


def equal(found, expected):
    return all(np.array_equal(found[key], expected[key]) for key in expected)


def gap(found, expected):
    return max(np.abs(found[key] - expected[key]).max() for key in expected)


@pytest.mark.parametrize("way", WAYS)
def test_training_improves_and_leaves_the_quantised_base_to_the_bit(quantized, run, train, values, way):
    backbone = quantized(way)
    base, outputs = values(backbone), run(backbone)
    backbone.enable_lora(4, TARGETS, seed=0)
    assert equal(run(backbone), outputs)
    losses = train(backbone, steps=4)
    assert losses[-1] < 0.9 * losses[0]
    after = values(backbone)
    assert all(after[name].tobytes() == array.tobytes() for name, array in base.items())
    backbone.unload_lora()
    assert equal(run(backbone), outputs)


def test_training_is_the_same_when_it_is_compiled(quantized, train):
    eager, compiled = quantized("int8"), quantized("int8")
    losses = []
    for backbone, jit in ((eager, False), (compiled, True)):
        backbone.enable_lora(4, TARGETS, seed=0)
        losses.append(train(backbone, steps=3, jit=jit))
    assert np.allclose(*losses, rtol=1e-3)


@pytest.mark.parametrize(
    ("way", "form"),
    [
        *((way, "adapter.safetensors") for way in WAYS),
        ("int8", "preset"),
        ("int4 blocks", "preset"),
        ("int8", "adapter"),
    ],
)
def test_what_was_trained_is_saved_and_loaded_to_the_bit(quantized, run, train, tmp_path, way, form):
    backbone = quantized(way)
    backbone.enable_lora(4, ["query", "value"], seed=0)
    train(backbone, steps=2)
    if form == "preset":
        backbone.save_to_preset(tmp_path / form)
        again = vertebra.Backbone.from_preset(tmp_path / form)
    else:
        backbone.save_lora_weights(tmp_path / form)
        again = quantized(way)
        again.load_lora_weights(tmp_path / form)
    assert equal(run(again), run(backbone))


@pytest.mark.parametrize(
    ("way", "strategy"),
    [
        ("int8 weights", "lora"),
        *(
            ("int4 blocks", name)
            for name in sorted({entry.name for entry in catalog(STRATEGIES)} - {"trainable_tokens"})
        ),
    ],
)
def test_every_strategy_is_merged_into_a_copy_in_floats(quantized, run, way, strategy):
    backbone = quantized(way)
    backbone.enable_lora(3, TARGETS, strategy=strategy, seed=0)
    random = np.random.default_rng(0)
    for variable in backbone.trainable_weights:
        variable.assign(variable.numpy() + random.normal(size=variable.shape) * 0.1)
    outputs = run(backbone)
    with pytest.raises(LoraStateError, match="merged_copy"):
        backbone.merge_lora()
    copy = backbone.merged_copy()
    assert gap(run(copy), outputs) <= 1e-5
    assert equal(run(backbone), outputs)
    assert {str(weight.dtype) for weight in copy.weights} == {"float32"}


def test_rounded_inputs_are_the_only_difference_of_a_copy(quantized, run):
    backbone = quantized("int8")
    backbone.enable_lora(3, TARGETS, seed=0)
    assert 1e-5 < gap(run(backbone.merged_copy()), run(backbone)) < 0.05


def test_values_of_floats_are_none_of_a_quantised_kernel(quantized, tmp_path, run):
    backbone = quantized("int8")
    backbone.enable_lora(2, seed=0)
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    with safe_open(tmp_path / "adapter.safetensors", "numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    tensors["pooled_dense/kernel"] = np.zeros((16, 16), "float32")
    save_file(tensors, tmp_path / "other.safetensors", metadata)
    fresh = quantized("int8")
    outputs = run(fresh)
    with pytest.raises(AdapterMismatchError, match="needed floats"):
        fresh.load_lora_weights(tmp_path / "other.safetensors")
    assert equal(run(fresh), outputs)


def test_a_base_in_floats_is_another_base(quantized, golden, tmp_path):
    backbone = quantized("int8")
    backbone.enable_lora(2, seed=0)
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    floats = vertebra.Backbone.from_preset(golden / "transformers")
    with pytest.raises(AdapterBaseError):
        floats.load_lora_weights(tmp_path / "adapter.safetensors")
    floats.load_lora_weights(tmp_path / "adapter.safetensors", check_base=False)


EINSUMS = [
    ("abc,cde->abde", (None, 2, 3), (2, 3, 4)),
    ("abde,dec->abc", (None, 6), (2, 3, 2, 4)),
    ("abc,dec->abde", (None, 2, 3), (2, 3, 4)),
]


@pytest.mark.parametrize(("equation", "output", "shape"), EINSUMS, ids=[case[0] for case in EINSUMS])
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantised_kernel_is_known_by_what_it_makes_of_unit_vectors(equation, output, shape, mode):
    layer = keras.layers.EinsumDense(equation, output, activation="relu")
    layer.build(shape)
    kernel = keras.ops.convert_to_numpy(view_of(layer).matrix())
    layer.quantize(mode)
    found = keras.ops.convert_to_numpy(view_of(layer).matrix())
    assert found.shape == kernel.shape
    assert 0 < np.abs(found - kernel).max() <= np.abs(kernel).max() / (127 if mode == "int8" else 7)
    assert layer.activation is keras.activations.relu


def test_other_ways_of_quantising_are_refused_by_name(backbone):
    for path, layer in layer_paths(backbone).items():
        if path.endswith("/query"):
            layer.quantize("float8")
    with pytest.raises(LoraTargetError, match="quantised as float8"):
        backbone.enable_lora(2, ["query"])
