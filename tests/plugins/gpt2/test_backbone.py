"""GPT-2 against a second implementation of it in numpy, for every argument that changes the mathematics."""

import math

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

ACTIVATIONS = {
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
    "gelu_approximate": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x: np.maximum(x, 0),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}
ABANDONED, HOLES, ALONE = (
    np.array(rows, "int32")
    for rows in (
        [[0, 0, 0, 1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1, 1, 1], [1] * 9],
        [[0, 1, 0, 1, 1, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0, 0, 0, 1], [1] * 9],
        [[0, 0, 0, 0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0, 0, 0], [1] * 9],
    )
)


def reference(weights, token_ids, padding_mask, config):
    """Computes GPT-2 in float64 as its paper and that of the transformer describe it."""
    w = {name: array.astype("float64") for name, array in weights.items()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config["layer_norm_epsilon"])
        return scaled * w[f"{name}/gamma"] + w[f"{name}/beta"]

    def dense(x, name):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def attention(x, layer, name):
        def heads(projection):
            return dense(x, f"{name}/{projection}").reshape(*x.shape[:2], config["num_heads"], -1).transpose(0, 2, 1, 3)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 1, 3, 2)
        if config["scale_attention"]:
            scores /= math.sqrt(query.shape[-1])
        if config["scale_attention_by_inverse_layer_index"]:
            scores /= layer + 1
        allowed = np.tril(np.ones(scores.shape[-2:])) * padding_mask[:, None, None, :] == 1
        scores = np.where(allowed, scores, -1e30)  # rows of padding before the first token come out as some average
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = scores / scores.sum(-1, keepdims=True) @ value
        return dense(mixed.transpose(0, 2, 1, 3).reshape(x.shape), f"{name}/attention_output")

    x = w["token_embedding/embeddings"][token_ids] + w["position_embedding/embeddings"][: token_ids.shape[1]]
    for i in range(config["num_layers"]):
        layer = f"transformer_layer_{i}"
        x = x + attention(norm(x, f"{layer}/self_attention_layer_norm"), i, f"{layer}/self_attention")
        inner = dense(norm(x, f"{layer}/feedforward_layer_norm"), f"{layer}/feedforward_intermediate_dense")
        x = x + dense(ACTIVATIONS[config["activation"]](inner), f"{layer}/feedforward_output_dense")
    return norm(x, "layer_norm")


@pytest.fixture
def gap(values, run):
    """Returns the largest difference to numpy at positions that hold a token."""

    def largest(backbone, inputs):
        expected = reference(values(backbone), **inputs, config=backbone.get_config())
        return np.abs(run(backbone, inputs) - expected)[inputs["padding_mask"] == 1].max()

    return largest


# === Arguments ===


@pytest.mark.parametrize(
    "overrides",
    [
        *({"activation": name} for name in ACTIVATIONS),
        {"layer_norm_epsilon": 0.1},
        {"num_heads": 1},
        {"num_heads": 4},
        {"num_layers": 1},
        {"num_layers": 3},
        {"hidden_dim": 24, "intermediate_dim": 8},
        {"scale_attention": False},
        {"scale_attention_by_inverse_layer_index": True},
        {"scale_attention": False, "scale_attention_by_inverse_layer_index": True},
    ],
    ids=str,
)
def test_outputs_are_those_of_numpy(make, gap, inputs, overrides):
    assert gap(make(**overrides), inputs) <= 1e-5


@pytest.mark.parametrize(
    "change",
    [
        *({"activation": name} for name in sorted(set(ACTIVATIONS) - {"gelu_approximate"})),
        {"layer_norm_epsilon": 0.1},
        {"num_heads": 4},
        {"scale_attention": False},
        {"scale_attention_by_inverse_layer_index": True},
    ],
    ids=str,
)
def test_each_of_them_matters(make, run, change):
    plain, other = make(), make(**change)
    other.set_weights(plain.get_weights())
    assert np.abs(run(plain) - run(other)).max() > 1e-4


@pytest.mark.parametrize(
    "overrides",
    [
        {"num_heads": 3},
        {"num_layers": 0},
        {"num_layers": 10**9},
        {"vocabulary_size": -1},
        {"hidden_dim": 2**40},
        {"max_sequence_length": 0},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"attention_dropout": 2},
        {"embedding_dropout": 1},
        {"dropout": float("nan")},
        {"activation": "prelu"},
    ],
    ids=str,
)
def test_an_argument_out_of_range_is_named(arguments, overrides):
    (name,) = overrides
    with pytest.raises(ValueError, match=name):
        vertebra.models.GPT2Backbone(**arguments | overrides)


def test_the_constructor_takes_kerashubs_arguments_in_kerashubs_order():
    config = vertebra.models.GPT2Backbone(11, 1, 2, 4, 8, 0.2, 7, "float32").get_config()
    names = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "dropout")
    assert [config[name] for name in (*names, "max_sequence_length")] == [11, 1, 2, 4, 8, 0.2, 7]


def test_inputs_output_and_layers_have_kerashubs_names(make):
    backbone = make()
    assert backbone.input.keys() == {"token_ids", "padding_mask"}
    assert backbone.output.shape == (None, None, 16)
    names = {layer.name for layer in backbone.layers}
    assert names >= {"token_embedding", "position_embedding", "embeddings_add", "embeddings_dropout", "layer_norm"}
    assert [layer.name for layer in backbone.transformer_layers] == ["transformer_layer_0", "transformer_layer_1"]
    assert isinstance(backbone.token_embedding, keras.layers.ReversibleEmbedding)


# === Lengths, batches and padding ===


@pytest.mark.parametrize("length", [1, 16])
@pytest.mark.parametrize("batch", [1, 5])
def test_lengths_up_to_the_number_of_positions(make, gap, batch, length):
    ids = np.random.default_rng(0).integers(0, 101, (batch, length)).astype("int32")
    assert gap(make(), {"token_ids": ids, "padding_mask": np.ones_like(ids)}) <= 1e-5


def test_compiled_it_computes_the_same(make, run, inputs):
    backbone = make()
    compiled = keras.ops.convert_to_numpy(vertebra.compile(backbone)(inputs))
    assert np.abs(compiled - run(backbone)).max() <= 1e-5


def test_a_longer_sequence_is_an_error(make):
    ids = np.ones((3, 17), "int32")
    with pytest.raises(ValueError, match=r"17 tokens.* 16 positions"):
        make()({"token_ids": ids, "padding_mask": ids})


@pytest.mark.parametrize("mask", [ABANDONED, HOLES, ALONE], ids=["left", "holes", "alone"])
def test_padding_may_stand_anywhere(make, gap, inputs, mask):
    assert gap(make(), inputs | {"padding_mask": mask}) <= 1e-5


@pytest.mark.parametrize("mask", [ABANDONED, HOLES], ids=["left", "holes"])
def test_what_stands_at_padding_does_not_matter(make, run, inputs, mask):
    backbone, padding = make(), mask == 0
    before = run(backbone, inputs | {"padding_mask": mask})
    changed = np.where(padding, 77, inputs["token_ids"]).astype("int32")
    after = run(backbone, {"token_ids": changed, "padding_mask": mask})
    assert np.array_equal(before[~padding], after[~padding])
    assert not np.array_equal(before[padding], after[padding])


def test_what_comes_later_does_not_matter(make, run, inputs):
    backbone, later = make(), inputs["token_ids"].copy()
    later[:, 5:] = 77
    before, after = run(backbone), run(backbone, inputs | {"token_ids": later})
    assert np.abs(before - after)[:, :5].max() <= 1e-6
    assert np.abs(before - after)[0, 5:].min(axis=-1).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_padding_alone_gives_numbers(arguments, inputs, dtype, dropout):
    backbone = vertebra.models.GPT2Backbone(**arguments | {"dropout": dropout}, dtype=dtype)
    outputs = backbone(inputs | {"padding_mask": np.zeros((3, 9), "int32")}, training=True)
    assert np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32"))).all()


# === Dropout ===


def test_attention_with_dropout_is_that_without_it_where_nothing_is_dropped(make, inputs, monkeypatch):
    changed = {"scale_attention": False, "scale_attention_by_inverse_layer_index": True}
    plain, dropping = make(**changed), make(**changed, attention_dropout=0.5)
    dropping.set_weights(plain.get_weights())
    monkeypatch.setattr(vertebra.layers.Dropout, "call", lambda self, x, training=False: x)
    padded = inputs | {"padding_mask": ABANDONED}
    kept, expected = dropping(padded, training=True), plain(padded, training=False)
    gap = np.abs(keras.ops.convert_to_numpy(kept) - keras.ops.convert_to_numpy(expected))
    assert gap.max() <= 1e-5  # padding included


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout", "embedding_dropout"])
def test_dropout_acts_only_while_training(make, inputs, run, rate):
    backbone = make(**{rate: 0.5})
    first, second = (keras.ops.convert_to_numpy(backbone(inputs, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(run(backbone), run(backbone))


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"dropout": 0.5}, [0.5, 0.5, 0.5]),
        ({"dropout": 0.5, "attention_dropout": 0.0}, [0.5, 0.0, 0.5]),
        ({"dropout": 0.5, "embedding_dropout": 0.25}, [0.25, 0.5, 0.5]),
        ({"attention_dropout": 0.25}, [0.0, 0.25, 0.0]),
    ],
    ids=str,
)
def test_each_rate_is_in_its_place(make, rates, expected):
    backbone = make(**rates)
    layer = backbone.transformer_layers[1]
    assert layer.feedforward_dropout.rate == layer.attention_dropout.rate
    found = [backbone.get_layer("embeddings_dropout").rate, layer.attention.rate, layer.attention_dropout.rate]
    assert found == expected
