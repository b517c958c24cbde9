"""What Keras and LoRA do with a model, done with every encoder: train, save, clone, quantise, choose a precision."""

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}
ENCODERS = {
    "roberta": ("RobertaBackbone", {"max_sequence_length": 12, "pooler": True}),
    "roberta with segments": ("RobertaBackbone", {"max_sequence_length": 12, "num_segments": 2}),
    "distilbert": ("DistilBertBackbone", {"max_sequence_length": 12}),
    "electra": ("ElectraBackbone", {"max_sequence_length": 12, "embedding_dim": 8, "pooler": False}),
    "mpnet": ("MPNetBackbone", {"max_sequence_length": 12}),
    "modernbert": ("ModernBertBackbone", {"local_attention": 4, "norm_bias": True, "attention_bias": True}),
}
each = pytest.mark.parametrize("encoder", ENCODERS)
PADDING = np.array([[1] * 9, [1] * 6 + [0] * 3, [0, 0] + [1] * 7], "int32")


@pytest.fixture
def make():
    """Builds a tiny encoder whose biases and scales matter, too."""

    def build(encoder, **overrides):
        name, arguments = ENCODERS[encoder]
        backbone = getattr(vertebra.models, name)(**SIZES | {"dropout": 0.0} | arguments | overrides)
        random = np.random.default_rng(0)
        for variable in backbone.weights:
            variable.assign(variable.numpy() + random.normal(size=variable.shape) * 0.2)
        return backbone

    return build


def inputs_of(backbone):
    """Returns a full row, one padded at the end and one at the beginning."""
    draws = np.random.default_rng(1)
    inputs = {name: draws.integers(2, 61, (3, 9), dtype="int32") for name in backbone.input}
    inputs["token_ids"] = np.where(PADDING == 1, inputs["token_ids"], 1).astype("int32")
    if "segment_ids" in inputs:
        inputs["segment_ids"] %= 2
    return inputs | {"padding_mask": PADDING}


def run(backbone, **changes):
    """Returns the hidden states of all tokens that are not padding, in float32."""
    states = backbone(inputs_of(backbone) | changes, training=False)["sequence_output"]
    return keras.ops.convert_to_numpy(keras.ops.cast(states, "float32"))[PADDING == 1]


def train(backbone, **changes):
    """Trains all outputs towards 0 for one step; returns the loss."""
    model = keras.Model(backbone.input, backbone.output)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    targets = {name: np.zeros((3, *output.shape[1:])) for name, output in model.output.items() if name != SEQUENCE}
    targets[SEQUENCE] = np.zeros((3, 9, 16))
    return model.fit(inputs_of(backbone) | changes, targets, verbose=0).history["loss"][0]


SEQUENCE = "sequence_output"


@each
def test_outputs_are_named(make, encoder):
    backbone = make(encoder)
    pooled = ["pooled_output"] if getattr(backbone, "pooler", False) else []
    assert list(backbone.output) == [SEQUENCE, *pooled]
    assert {str(output.dtype) for output in backbone.output.values()} == {"float32"}


@each
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_training_on_rows_of_padding_alone_gives_numbers(make, values, encoder, dropout):
    backbone = make(encoder, dropout=dropout, attention_dropout=dropout)
    assert np.isfinite(train(backbone, padding_mask=PADDING * np.array([[1], [0], [1]], "int32")))
    assert all(np.isfinite(array).all() for array in values(backbone).values())


@each
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_row_of_padding_alone_gives_numbers(make, encoder, dtype):
    assert np.isfinite(run(make(encoder, dtype=dtype), padding_mask=np.zeros_like(PADDING))).all()


@each
def test_attention_with_dropout_is_that_without_it_where_nothing_is_dropped(make, encoder, monkeypatch):
    plain, dropping = make(encoder), make(encoder, attention_dropout=0.5)
    dropping.set_weights(plain.get_weights())
    monkeypatch.setattr(vertebra.layers.Dropout, "call", lambda self, x, training=False: x)
    kept = dropping(inputs_of(dropping), training=True)[SEQUENCE]
    assert np.allclose(keras.ops.convert_to_numpy(kept)[PADDING == 1], run(plain), atol=1e-5)


@each
def test_ids_of_padding_do_not_matter_at_the_end(make, encoder):
    backbone = make(encoder)
    tokens = inputs_of(backbone)["token_ids"]
    tokens[1, 6:] = 7
    assert np.allclose(run(backbone, token_ids=tokens), run(backbone), atol=1e-6)


@each
def test_a_part_of_a_model_can_be_saved(tmp_path, make, encoder):
    backbone = make(encoder)
    layer = backbone.get_layer("transformer_layer_0")
    part = keras.Model(backbone.input, {SEQUENCE: layer.output})
    part.save(tmp_path / "part.keras")
    assert np.array_equal(run(vertebra.load_model(tmp_path / "part.keras")), run(part))


@each
def test_every_role_has_layers(make, encoder):
    backbone = make(encoder)
    assert {"attention.query", "mlp.up", "mlp.down", "embedding.token"} <= backbone.lora_roles.keys()
    for role in backbone.lora_roles:
        found = make(encoder).enable_lora(2, [role]).layers
        assert len(found) == (1 if role == "embedding.token" else 2)


@each
def test_a_native_preset_has_all_of_it(tmp_path, make, encoder):
    backbone = make(encoder, activation="silu", attention_dropout=0.25)
    backbone.save_to_preset(tmp_path / "preset")
    again = vertebra.Backbone.from_preset(tmp_path / "preset")
    assert again.get_config() == backbone.get_config() | {"name": again.name}
    assert np.array_equal(run(again), run(backbone))


@each
def test_no_two_weights_start_alike(values, encoder):
    name, arguments = ENCODERS[encoder]
    backbone = getattr(vertebra.models, name)(**SIZES | arguments)
    starts = [tuple(array.flatten()[:5]) for array in values(backbone).values() if array.std() > 0]
    assert len(set(starts)) == len(starts)
