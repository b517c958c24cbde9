"""GPT-2 is a Keras model: it trains, saves, is cloned and quantised, and runs in every precision."""

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

ABANDONED = np.array([[0, 0, 1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0, 0], [1] * 9], "int32")


@pytest.fixture
def step(inputs):
    """Trains a backbone for one step; returns by how much each of its weights changed, by path."""

    def train(backbone, mask=inputs["padding_mask"]):
        weights = backbone.weights
        before = [variable.numpy().copy() for variable in weights]
        model = keras.Model(backbone.input, keras.layers.Dense(1, name="head")(backbone.output))
        model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
        model.fit(inputs | {"padding_mask": mask}, np.ones((3, 9, 1)), verbose=0)
        return {v.path: np.abs(v.numpy() - old).max(initial=0) for v, old in zip(weights, before, strict=True)}

    return train


@pytest.mark.parametrize("rate", [0.0, 0.1], ids=["fused attention", "attention with dropout"])
def test_every_weight_trains_whatever_the_padding(make, step, rate):
    changes = step(make(attention_dropout=rate), mask=ABANDONED)
    assert np.isfinite(list(changes.values())).all()
    # A bias of the keys adds the same to all scores of a query, which softmax does not see: its gradient is zero.
    assert not [path for path, change in changes.items() if not change and "key/bias" not in path]
    assert len(changes) == 2 * 16 + 4


def test_no_frozen_weight_trains(make, step):
    backbone = make()
    for layer in (backbone.token_embedding, backbone.transformer_layers[0].attention.query, backbone.layer_norm):
        layer.trainable = False
    frozen = {variable.path for variable in backbone.non_trainable_weights}
    assert len(frozen) == 1 + 2 + 2
    assert {path for path, change in step(backbone).items() if not change} >= frozen


def test_lora_adapts_query_and_value_and_trains_nothing_else(make, run, step):
    backbone = make()
    before = run(backbone)
    receipt = backbone.enable_lora(2)
    assert [path.rpartition("/")[2] for path in receipt.layers] == ["query", "value"] * 2
    assert receipt.parameters_added == 2 * 2 * 2 * (16 + 16)
    assert np.array_equal(run(backbone), before)
    changed = [path for path, change in step(backbone).items() if change]
    assert changed
    assert all("lora" in path for path in changed)


@pytest.mark.parametrize("role", vertebra.models.GPT2Backbone.lora_roles)
def test_each_role_of_lora_names_layers(make, role):
    receipt = make().enable_lora(2, [role])
    assert len(receipt.layers) == (1 if role == "embedding.token" else 2)


def test_its_parameters_are_counted(make, capsys):
    backbone = make()
    layer = 4 * (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16) + 2 * 32
    assert backbone.count_params() == 101 * 16 + 16 * 16 + 2 * layer + 32 == 8464
    backbone.summary()
    printed = capsys.readouterr().out
    assert "8,464" in printed
    assert "(None, None, 16)" in printed


def test_its_config_builds_it_again(make):
    backbone = make(activation="mish", embedding_dropout=0.3, scale_attention=False, name="other", trainable=False)
    again = type(backbone).from_config(backbone.get_config())
    assert again.get_config() == backbone.get_config()


def test_a_keras_file_holds_it(make, run, tmp_path):
    backbone = make(activation="quick_gelu", scale_attention_by_inverse_layer_index=True)
    backbone.save(tmp_path / "model.keras")
    again = vertebra.load_model(tmp_path / "model.keras")
    assert again.get_config() == backbone.get_config()
    assert np.array_equal(run(again), run(backbone))


def test_a_keras_file_holds_a_model_of_its_layers(make, run, tmp_path):
    backbone = make(scale_attention=False)
    flat = keras.Model(backbone.inputs, keras.layers.Dense(2, name="head")(backbone.output))
    flat.save(tmp_path / "flat.keras")
    assert np.array_equal(run(vertebra.load_model(tmp_path / "flat.keras")), run(flat))


def test_a_native_preset_holds_it(make, run, tmp_path):
    backbone = make(attention_dropout=0.3, activation="relu_squared")
    backbone.save_to_preset(tmp_path / "preset")
    again = vertebra.models.GPT2Backbone.from_preset(tmp_path / "preset")
    assert {**again.get_config(), "name": ""} == {**backbone.get_config(), "name": ""}
    assert np.array_equal(run(again), run(backbone))


def test_a_clone_takes_the_weights(make, run):
    backbone = make(scale_attention_by_inverse_layer_index=True)
    clone = keras.models.clone_model(backbone)
    assert not np.array_equal(run(clone), run(backbone))
    clone.set_weights(backbone.get_weights())
    assert np.array_equal(run(clone), run(backbone))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantised_to_int8_it_computes_nearly_the_same(make, run):
    backbone = make()
    before = run(backbone)
    backbone.quantize("int8")
    assert backbone.transformer_layers[0].attention.query.kernel.dtype == "int8"
    assert 0 < np.abs(run(backbone) - before).max() < 0.2 * np.abs(before).max()


@pytest.mark.parametrize(
    ("policy", "computed", "stored", "tolerance"),
    [
        ("float16", "float16", "float16", 0.02),
        ("bfloat16", "bfloat16", "bfloat16", 0.15),
        ("mixed_float16", "float16", "float32", 0.02),
        ("mixed_bfloat16", "bfloat16", "float32", 0.15),
    ],
)
def test_other_precisions_are_near_float32(make, run, inputs, policy, computed, stored, tolerance):
    exact, other = make(), make(dtype=policy)
    other.set_weights(exact.get_weights())
    output = other(inputs)
    assert keras.backend.standardize_dtype(output.dtype) == computed == other.output.dtype
    assert {variable.dtype for variable in other.weights} == {stored}
    gap = np.abs(run(other) - run(exact))[inputs["padding_mask"] == 1].max()
    assert 0 < gap <= tolerance


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_left_padding_trains_in_half_precision(make, step, policy):
    changes = step(make(dtype=f"mixed_{policy}", dropout=0.1), mask=ABANDONED)
    assert np.isfinite(list(changes.values())).all()
