"""Quantised backbones: saved as quantised, and built again with the same variables on this runtime and on others."""

import json

import keras
import numpy as np
import pytest
from keras.quantizers import AbsMaxQuantizer, Float8QuantizationConfig, Int4QuantizationConfig, Int8QuantizationConfig
from safetensors.numpy import load_file

import vertebra
from vertebra._weights.abstract import abstract_build
from vertebra._weights.quantized import quantization_plan, quantize_as_planned
from vertebra.errors import FormatLimitError, PresetConfigError

pytestmark = pytest.mark.keras

WAYS = {
    "int8": Int8QuantizationConfig(),
    "int8, weights only": Int8QuantizationConfig(activation_quantizer=None),
    "int4, channels": Int4QuantizationConfig(block_size=None),
    "int4, channels and inputs": Int4QuantizationConfig(block_size=-1, activation_quantizer=AbsMaxQuantizer(axis=-1)),
    "int4, blocks": Int4QuantizationConfig(block_size=8),
    "int4, blocks that do not divide": Int4QuantizationConfig(block_size=5),
}
each_way = pytest.mark.parametrize("way", WAYS)
two_ways = pytest.mark.parametrize("way", ["int8", "int4, blocks"])
LAYERS = 2 * 6 + 3  # projections and feed-forward of each layer; the pooler, token and segment embeddings


@pytest.fixture
def quantized(backbone, monkeypatch):
    """Quantises the reference BERT in one of the ways."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # Keras collects once for each layer, which takes most of the time

    def quantize(way):
        with pytest.warns(UserWarning, match="does not have a `quantize` method"):
            backbone.quantize(config=WAYS[way])
        return backbone

    return quantize


def same(one, other):
    """Says whether two tables of arrays have the same names and bits."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


# === Round trips ===


@each_way
def test_a_preset_computes_what_was_saved_to_the_last_bit(quantized, tmp_path, run, values, way):
    backbone = quantized(way)
    backbone.save_to_preset(tmp_path / "preset")
    again = vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
    assert same(values(again), values(backbone))
    assert same(run(again), run(backbone))
    assert again.get_config() == backbone.get_config()
    assert len(quantization_plan(again)) == LAYERS
    assert {variable.dtype for variable in again.weights} == {variable.dtype for variable in backbone.weights}


@two_ways
def test_a_layer_without_values_gets_the_variables_of_a_quantised_one(way):
    def model():
        table = keras.layers.ReversibleEmbedding(8, 8, tie_weights=False, name="table")
        tokens = keras.Input((None,), dtype="int32")
        return keras.Model(tokens, table(table(tokens), reverse=True))

    usual = model()
    usual.get_layer("table").quantize(WAYS[way].mode, config=WAYS[way])
    with abstract_build():
        again = model()
        quantize_as_planned(again, quantization_plan(usual))
    shapes = [[(v.name, v.shape, v.dtype) for v in each.weights] for each in (usual, again)]
    assert sorted(shapes[0]) == sorted(shapes[1])


@each_way
def test_a_keras_file_computes_what_was_saved(quantized, tmp_path, run, way):
    backbone = quantized(way)
    backbone.save(tmp_path / "model.keras")
    assert same(run(vertebra.load_model(tmp_path / "model.keras")), run(backbone))


def test_weights_take_a_quarter_or_an_eighth_of_the_room(quantized, tmp_path):
    quantized("int4, channels").save_to_preset(tmp_path / "preset")
    stored = load_file(tmp_path / "preset" / "model.safetensors")
    kernels = {name: array for name, array in stored.items() if array.dtype == np.int8}
    assert len(kernels) == LAYERS
    assert kernels["transformer_layer_0/self_attention/query/kernel"].shape == (16, 8)


RUN_ELSEWHERE = """
import sys
import numpy as np
import vertebra
backbone = vertebra.Backbone.from_preset(sys.argv[1], verify=True)
import keras
results = backbone(dict(np.load(sys.argv[2])), training=False)
np.savez(sys.argv[3], **{name: keras.ops.convert_to_numpy(value) for name, value in results.items()})
"""


def test_another_runtime_computes_the_same(quantized, tmp_path, inputs, run, child, other_runtime):
    backbone = quantized("int4, channels and inputs")
    backbone.save_to_preset(tmp_path / "preset")
    np.savez(tmp_path / "inputs.npz", **inputs)
    child(RUN_ELSEWHERE, tmp_path / "preset", tmp_path / "inputs.npz", tmp_path / "outputs.npz", on=other_runtime)
    there, here = dict(np.load(tmp_path / "outputs.npz")), run(backbone)
    assert max(np.abs(there[name] - here[name]).max() for name in here) <= 1e-3  # inputs may round to another integer


@two_ways
def test_another_dtype_is_that_of_the_floats_and_the_integers_stay(quantized, tmp_path, run, values, way):
    backbone = quantized(way)
    backbone.save_to_preset(tmp_path / "preset")
    half = vertebra.Backbone.from_preset(tmp_path / "preset", dtype="bfloat16")
    whole, less = values(backbone), values(half)
    assert whole.keys() == less.keys()
    integers = [name for name in whole if whole[name].dtype == np.int8]
    assert len([name for name in integers if name.endswith(("kernel", "embeddings"))]) == LAYERS
    assert all(np.array_equal(whole[name], less[name]) for name in integers)
    assert {str(array.dtype) for name, array in less.items() if "g_idx" not in name} == {"int8", "bfloat16"}
    gap = np.abs(run(half)["pooled_output"].astype("float32") - run(backbone)["pooled_output"]).max()
    assert gap <= 0.08


def test_a_mixed_policy_stays_mixed(quantized, tmp_path, run):
    backbone = quantized("int8")
    backbone.save_to_preset(tmp_path / "preset")
    mixed = vertebra.Backbone.from_preset(tmp_path / "preset", dtype="mixed_bfloat16")
    assert {variable.dtype for variable in mixed.weights} == {"int8", "float32"}
    assert {str(array.dtype) for array in run(mixed).values()} == {"bfloat16"}


def test_some_layers_may_be_quantised_and_others_not(backbone, tmp_path, run):
    layer = backbone.get_layer("pooled_dense")
    layer.quantize("int8")
    backbone.save_to_preset(tmp_path / "preset")
    again = vertebra.Backbone.from_preset(tmp_path / "preset")
    assert list(quantization_plan(again)) == ["pooled_dense"]
    assert same(run(again), run(backbone))


def test_its_config_builds_it_again_to_take_the_weights(quantized, run):
    backbone = quantized("int8")
    again = type(backbone).from_config(json.loads(json.dumps(backbone.get_config())))
    again.set_weights(backbone.get_weights())
    assert same(run(again), run(backbone))


@pytest.mark.parametrize("mode", ["int8", "int4/8", "float8"])
def test_so_does_a_config_whose_dtype_policies_quantise_it(arguments, run, mode):
    policies = keras.dtype_policies.DTypePolicyMap("float32")
    for layer in ("pooled_dense", "transformer_layer_0/self_attention/query"):
        policies[layer] = keras.dtype_policies.get(f"{mode}_from_float32")
    backbone = vertebra.models.BertBackbone(**arguments, dtype=policies)
    assert backbone.pooled_dense.quantization_mode == mode.partition("/")[0]
    again = type(backbone).from_config(json.loads(json.dumps(backbone.get_config())))
    assert again.get_config() == backbone.get_config()
    again.set_weights(backbone.get_weights())
    assert same(run(again), run(backbone))


@pytest.mark.keras(once=True)
def test_a_plan_that_the_dtype_policy_contradicts_is_refused(arguments):
    policies = keras.dtype_policies.DTypePolicyMap("float32")
    policies["pooled_dense"] = keras.dtype_policies.get("int8_from_float32")
    config = vertebra.models.BertBackbone(**arguments, dtype=policies).get_config()
    config["quantized"]["pooled_dense"]["mode"] = "int4"
    with pytest.raises(PresetConfigError, match="'pooled_dense': its dtype policy quantises it as"):
        vertebra.models.BertBackbone.from_config(config)


def test_an_adapter_and_quantised_layers_are_saved_together(quantized, backbone, tmp_path, run, train):
    adapted = quantized("int8")
    adapted.enable_lora(2)
    train(adapted)
    adapted.save_to_preset(tmp_path / "preset")
    again = vertebra.Backbone.from_preset(tmp_path / "preset")
    assert same(run(again), run(adapted))
    assert again.get_config() == adapted.get_config()


def test_saved_again_it_is_the_same(quantized, tmp_path, digest):
    quantized("int8").save_to_preset(tmp_path / "one")
    vertebra.Backbone.from_preset(tmp_path / "one").save_to_preset(tmp_path / "two")
    one, two = digest(tmp_path / "one"), digest(tmp_path / "two")
    assert one["model.safetensors"] == two["model.safetensors"]
    assert one["config.json"] == two["config.json"]


# === Without a float copy ===


def test_loading_views_the_integers_and_makes_no_float_kernel(quantized, tmp_path, monkeypatch):
    quantized("int8").save_to_preset(tmp_path / "preset")
    drawn = []
    initializer = keras.initializers.TruncatedNormal
    monkeypatch.setattr(initializer, "__call__", lambda self, shape, dtype=None: drawn.append(shape))
    backbone = vertebra.Backbone.from_preset(tmp_path / "preset")
    assert drawn == []
    assert {variable.dtype for variable in backbone.weights if variable.path.endswith("kernel")} == {"int8"}


# === Layers that cannot be saved ===


@pytest.mark.keras(once=True)
def test_another_mode_is_refused_by_name(backbone, tmp_path):
    backbone.get_layer("pooled_dense").quantize("float8", config=Float8QuantizationConfig())
    with pytest.raises(PresetConfigError, match="float8") as caught:
        backbone.save_to_preset(tmp_path / "preset")
    assert "pooled_dense" in caught.value.subject
    assert list(tmp_path.iterdir()) == []


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "quantizer", [AbsMaxQuantizer(axis=-1, value_range=(-7, 7)), AbsMaxQuantizer(axis=-1, epsilon=0.5)]
)
def test_a_quantiser_of_inputs_that_config_cannot_say_is_refused(backbone, tmp_path, quantizer):
    config = Int8QuantizationConfig(activation_quantizer=quantizer)
    backbone.get_layer("pooled_dense").quantize("int8", config=config)
    with pytest.raises(PresetConfigError, match="pooled_dense"):
        backbone.save_to_preset(tmp_path / "preset")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("format", ["transformers", "kerashub"])
def test_formats_of_floats_refuse_it_and_write_nothing(quantized, tmp_path, digest, format):
    backbone = quantized("int4, channels")
    backbone.save_to_preset(tmp_path / "preset")
    before = digest(tmp_path)
    with pytest.raises(FormatLimitError) as caught:
        backbone.save_to_preset(tmp_path / "preset", format=format)
    assert (caught.value.format, caught.value.argument, caught.value.value) == (format, "dtype", "int4")
    assert digest(tmp_path) == before


# === Hostile plans ===

FACTS = {"mode": "int8", "block_size": None, "quantize_inputs": True}


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "plan",
    [
        [],
        "int8",
        {"pooled_dense": None},
        {"pooled_dense": "int8"},
        {"pooled_dense": []},
        {"pooled_dense": {}},
        {"pooled_dense": {"mode": "int8"}},
        {"nowhere": FACTS},
        {"": FACTS},
        {"../pooled_dense": FACTS},
        {"embeddings_layer_norm": FACTS},
        {"transformer_layer_0": FACTS},
        {"pooled_dense": FACTS | {"mode": "float8"}},
        {"pooled_dense": FACTS | {"mode": "gptq"}},
        {"pooled_dense": FACTS | {"mode": ["int8"]}},
        {"pooled_dense": FACTS | {"mode": "int4", "block_size": 0}},
        {"pooled_dense": FACTS | {"mode": "int4", "block_size": -2}},
        {"pooled_dense": FACTS | {"mode": "int4", "block_size": 8.0}},
        {"pooled_dense": FACTS | {"mode": "int4", "block_size": True}},
        {"pooled_dense": FACTS | {"quantize_inputs": "yes"}},
        {"pooled_dense": FACTS | {"surprise": 1}},
        {"pooled_dense": {"class_name": "Lambda", "module": "os", "config": {}}},
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_is_refused(backbone, tmp_path, plan):
    backbone.save_to_preset(tmp_path / "preset")
    config = json.loads((tmp_path / "preset" / "config.json").read_text())
    config["config"]["quantized"] = plan
    (tmp_path / "preset" / "config.json").write_text(json.dumps(config))
    for load_weights in (True, False):
        with pytest.raises(PresetConfigError):
            vertebra.Backbone.from_preset(tmp_path / "preset", load_weights=load_weights)


def test_a_plan_that_the_weights_do_not_have_is_refused(backbone, tmp_path):
    backbone.save_to_preset(tmp_path / "preset")
    config = json.loads((tmp_path / "preset" / "config.json").read_text())
    config["config"]["quantized"] = {"pooled_dense": FACTS}
    (tmp_path / "preset" / "config.json").write_text(json.dumps(config))
    with pytest.raises(vertebra.errors.WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(tmp_path / "preset")
    assert caught.value.missing == ["pooled_dense/kernel_scale"]
    assert len(caught.value.retyped) == 1
