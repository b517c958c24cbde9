"""How many texts are computed: in batches by length, and compiled where that is worth while."""

import numpy as np
import pytest

import vertebra
from vertebra.errors import ArgumentError

pytestmark = pytest.mark.keras


@pytest.fixture
def embedder(preset):
    return vertebra.models.TextEmbedder.from_preset(preset)


@pytest.fixture
def alone(embedder):
    """Returns the vectors of texts, each computed alone."""
    return lambda texts: np.stack([embedder.embed(text) for text in texts])


@pytest.fixture
def many(monkeypatch):
    """Few texts are many."""
    from vertebra_text.tasks import inference

    monkeypatch.setattr(inference, "_MANY", 8)
    monkeypatch.setattr(inference, "_MANY_AT_ONCE", 4)


@pytest.fixture
def packings(many, runtime, monkeypatch):
    """Each time that weights are packed, which only torch does."""
    if runtime != "torch":
        pytest.skip("only torch packs weights")
    noted, pack = [], type(vertebra.use()).pack
    monkeypatch.setattr(
        type(vertebra.use()), "pack", lambda self, program: noted.append(program) or pack(self, program)
    )
    return noted


TEXTS = ["fox", "the good dog is bad", "", "a", "the fox " * 9, "good", "bad dog", "x y z", "fox fox", "dog ."]


def test_many_texts_get_the_vectors_that_each_has_alone(embedder, alone, many):
    expected = alone(TEXTS)
    for _ in range(3):
        np.testing.assert_allclose(embedder.embed(TEXTS, batch_size=3), expected, atol=1e-6)


@pytest.fixture
def computed(embedder, monkeypatch):
    """Shapes that a dense layer between the embeddings and the pooling has computed."""
    layer, shapes = embedder.backbone.transformer_layers[0].down, []
    call = layer.call
    monkeypatch.setattr(layer, "call", lambda x, **options: shapes.append(tuple(x.shape[:2])) or call(x, **options))
    return shapes


def test_padding_of_a_batch_is_not_computed(embedder, computed, runtime):
    tokens = int(embedder.preprocessor.encode(TEXTS)["padding_mask"].sum())
    embedder.embed(TEXTS, batch_size=5 if runtime == "jax" else 32)
    if runtime == "jax":  # half of five rows of a power of two
        assert {rows for rows, _ in computed} == {1}
        assert {count for _, count in computed} <= {40, 80, 160}
    else:
        assert computed == [(1, tokens)]


def test_with_an_adapter_for_each_row_padding_is_computed(embedder, computed):
    embedder.enable_lora(2, name="a")
    embedder.embed(TEXTS, adapters=["a", None] * 5, batch_size=10)
    assert computed
    assert all(rows == 10 for rows, _ in computed)


def test_weights_are_packed_for_calls_with_many_texts_only(embedder, packings):
    embedder.embed(TEXTS[:6])
    assert len(packings) == 0  # not enough so far to trace
    embedder.embed(TEXTS)
    assert len(packings) == 1
    embedder.embed(TEXTS[0])
    assert len(packings) == 1
    embedder.embed(TEXTS)
    assert len(packings) == 2
    assert packings[0] is packings[1]  # one traced function


def test_vectors_follow_weights_that_change_between_calls(embedder, alone, many):
    embedder.embed(TEXTS)
    embedder.embed(TEXTS)
    for variable in embedder.weights:
        variable.assign(variable.value * 0.7)
    np.testing.assert_allclose(embedder.embed(TEXTS), alone(TEXTS), atol=1e-6)


def test_adapters_for_each_of_many_texts(embedder, many):
    for name in ("a", "b"):
        embedder.enable_lora(2, name=name)
        for variable in embedder.trainable_weights:
            variable.assign(np.random.default_rng(ord(name)).normal(size=variable.shape) * 0.2)
    names = ["a", "b", None, {"a": 0.5, "b": 1.0}, "b"] * 2
    expected = np.stack([embedder.predict([text], adapters=[name])[0] for text, name in zip(TEXTS, names, strict=True)])
    for _ in range(2):
        np.testing.assert_allclose(embedder.embed(TEXTS, adapters=names, batch_size=4), expected, atol=1e-5)


@pytest.mark.parametrize("size", [0, -1, 2.5, None, "8", True])
def test_a_batch_has_at_least_one_text(embedder, size):
    with pytest.raises(ArgumentError, match=r"batch_size=.*, expected an int above 0"):
        embedder.embed(TEXTS, batch_size=size)


@pytest.mark.parametrize("most", [7, 20, 32])
@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_are_as_long_as_the_model_takes(preset, most, side):
    """Lengths are rounded where each shape is compiled, but not above the number of positions."""
    from vertebra_text import TextPreprocessor

    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8, "max_sequence_length": most}
    tokenizer = vertebra.models.TextEmbedder.from_preset(preset).tokenizer
    backbone = vertebra.models.BertBackbone(vocabulary_size=tokenizer.vocabulary_size(), **sizes)
    tokenizer.padding_side = side
    task = vertebra.models.TextClassifier(backbone, 2, TextPreprocessor(tokenizer))
    texts = ["the fox " * 30, "fox"]
    assert task.predict(texts).shape == (2, 2)
    task.fit(texts, [0, 1], verbose=0)
    assert task.encode(texts)["token_ids"].shape[1] == most
    assert task.encode(texts)["padding_mask"].sum(axis=1).tolist() == [most, 3]
