"""BERT against a second implementation of it in numpy, for every argument that changes the mathematics."""

import math

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

ACTIVATIONS = {
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
    "gelu_approximate": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


def reference(weights, inputs, *, num_layers, num_heads, activation, layer_norm_epsilon):
    """Computes BERT in float64 as its paper and that of the transformer describe it."""
    w = {name: array.astype("float64") for name, array in weights.items()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer_norm_epsilon)
        return scaled * w[f"{name}/gamma"] + w[f"{name}/beta"]

    def dense(x, name):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def attention(x, name):
        def heads(projection):
            return dense(x, f"{name}/{projection}").reshape(*x.shape[:2], num_heads, -1).transpose(0, 2, 1, 3)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1])
        scores = np.where(inputs["padding_mask"][:, None, None, :] == 1, scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = scores / scores.sum(-1, keepdims=True) @ value
        return dense(mixed.transpose(0, 2, 1, 3).reshape(x.shape), f"{name}/attention_output")

    x = w["token_embedding/embeddings"][inputs["token_ids"]] + w["segment_embedding/embeddings"][inputs["segment_ids"]]
    x = norm(x + w["position_embedding/embeddings"][: x.shape[1]], "embeddings_layer_norm")
    for i in range(num_layers):
        layer = f"transformer_layer_{i}"
        x = norm(x + attention(x, f"{layer}/self_attention"), f"{layer}/self_attention_layer_norm")
        inner = ACTIVATIONS[activation](dense(x, f"{layer}/feedforward_intermediate_dense"))
        x = norm(x + dense(inner, f"{layer}/feedforward_output_dense"), f"{layer}/feedforward_layer_norm")
    return {"sequence_output": x, "pooled_output": np.tanh(dense(x[:, 0], "pooled_dense"))}


@pytest.fixture
def make(arguments, perturbed):
    """Builds a tiny BERT whose biases and scales matter, too."""
    return lambda **overrides: perturbed(vertebra.models.BertBackbone(**arguments | overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        *({"activation": name} for name in ACTIVATIONS),
        {"layer_norm_epsilon": 0.1},
        {"num_heads": 1},
        {"num_heads": 4},
        {"num_layers": 1},
    ],
    ids=str,
)
def test_outputs_are_those_of_numpy(make, run, values, inputs, overrides):
    backbone = make(**overrides)
    fields = ("num_layers", "num_heads", "activation", "layer_norm_epsilon")
    expected = reference(values(backbone), inputs, **{name: backbone.get_config()[name] for name in fields})
    found, valid = run(backbone), inputs["padding_mask"] == 1
    assert np.abs(found["sequence_output"] - expected["sequence_output"])[valid].max() <= 1e-5
    assert np.abs(found["pooled_output"] - expected["pooled_output"]).max() <= 1e-5


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"gelu_approximate"}))
def test_activations_differ(make, run, name):
    plain, other = make(), make(activation=name)
    other.set_weights(plain.get_weights())
    assert np.abs(run(plain)["sequence_output"] - run(other)["sequence_output"]).max() > 1e-4


def test_attention_with_dropout_is_that_without_it_where_nothing_is_dropped(make, inputs, monkeypatch):
    plain, dropping = make(), make(attention_dropout=0.5)
    dropping.set_weights(plain.get_weights())
    monkeypatch.setattr(vertebra.layers.Dropout, "call", lambda self, x, training=False: x)
    kept = dropping(inputs, training=True)["sequence_output"]
    expected = plain(inputs, training=False)["sequence_output"]
    gap = np.abs(keras.ops.convert_to_numpy(kept) - keras.ops.convert_to_numpy(expected))
    assert gap[inputs["padding_mask"] == 1].max() <= 1e-5


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout"])
def test_dropout_acts_only_while_training(make, inputs, run, rate):
    backbone = make(**{rate: 0.5})
    first, second = (keras.ops.convert_to_numpy(backbone(inputs, training=True)["pooled_output"]) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(run(backbone)["pooled_output"], run(backbone)["pooled_output"])


def test_what_stands_at_padding_does_not_matter(make, run, inputs):
    backbone, padding = make(), inputs["padding_mask"] == 0
    changed = inputs | {"token_ids": np.where(padding, 77, inputs["token_ids"]).astype("int32")}
    assert (changed["token_ids"] != inputs["token_ids"]).any()
    before, after = run(backbone), run(backbone, changed)
    assert np.array_equal(before["sequence_output"][~padding], after["sequence_output"][~padding])
    assert np.array_equal(before["pooled_output"], after["pooled_output"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_of_padding_alone_gives_numbers(arguments, run, inputs, dtype):
    backbone = vertebra.models.BertBackbone(**arguments, dtype=dtype)
    outputs = run(backbone, inputs | {"padding_mask": np.zeros((3, 9), "int32")})
    assert all(np.isfinite(array.astype("float32")).all() for array in outputs.values())


@pytest.mark.parametrize("length", [1, 16])
def test_lengths_up_to_the_number_of_positions(make, length):
    ids = np.ones((3, length), "int32")
    outputs = vertebra.compile(make())({"token_ids": ids, "segment_ids": ids - 1, "padding_mask": ids})
    assert outputs["sequence_output"].shape == (3, length, 16)


def test_a_longer_sequence_is_an_error(make):
    ids = np.ones((3, 17), "int32")
    with pytest.raises(ValueError, match=r"17 tokens.* 16 positions"):
        make()({"token_ids": ids, "segment_ids": ids - 1, "padding_mask": ids})


@pytest.mark.parametrize(
    "overrides",
    [
        {"num_heads": 3},
        {"num_layers": 0},
        {"num_layers": 10**9},
        {"vocabulary_size": -1},
        {"hidden_dim": 2**40},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"attention_dropout": 2},
        {"dropout": float("nan")},
        {"activation": "prelu"},
    ],
    ids=str,
)
def test_an_argument_out_of_range_is_named(arguments, overrides):
    (name,) = overrides
    with pytest.raises(ValueError, match=name):
        vertebra.models.BertBackbone(**arguments | overrides)


def test_the_constructor_takes_kerashubs_arguments_in_kerashubs_order():
    backbone = vertebra.models.BertBackbone(11, 1, 2, 4, 8, 0.2, 7, 3, "float32")
    config = backbone.get_config()
    names = ["vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "dropout"]
    assert [config[name] for name in (*names, "max_sequence_length", "num_segments")] == [11, 1, 2, 4, 8, 0.2, 7, 3]
    assert backbone.cls_token_index == 0


def test_a_row_of_padding_alone_gives_numbers_while_training_in_float16(arguments, inputs):
    model = vertebra.models.BertBackbone(**arguments | {"dropout": 0.1}, dtype="float16")
    padded = inputs | {"padding_mask": inputs["padding_mask"] * np.array([[1], [1], [0]], "int32")}
    outputs = model(padded, training=True)["sequence_output"]
    assert np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32"))).all()
