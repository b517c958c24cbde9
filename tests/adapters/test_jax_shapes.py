"""Compiled functions on JAX: batches of many shapes are padded to a few."""

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def only_on_jax(runtime):
    if runtime != "jax":
        pytest.skip("torch traces one graph for all shapes")


@pytest.fixture
def still(arguments):
    return vertebra.models.BertBackbone(**arguments | {"dropout": 0.0, "max_sequence_length": 64})


@pytest.fixture
def few(monkeypatch):
    """No shape is compiled as it is."""
    from vertebra_jax import bucketing

    monkeypatch.setattr(bucketing, "_MOST_EXACT", 0)


@pytest.fixture
def shapes(monkeypatch):
    """The shapes of token ids that are compiled."""
    from vertebra_jax import compiling

    seen, program = set(), compiling._program

    def noted(model):
        run = program(model)
        return lambda values, inputs, tokens=None: seen.add(inputs["token_ids"].shape) or run(values, inputs, tokens)

    monkeypatch.setattr(compiling, "_program", noted)
    return seen


def batch(backbone, rows, length, kind=np.asarray):
    mask = np.ones((rows, length), "int32")
    mask[0, (length + 1) // 2 :] = 0
    ids = np.arange(rows * length).reshape(rows, length) % backbone.vocabulary_size
    values = {"token_ids": ids.astype("int32"), "padding_mask": mask, "segment_ids": np.zeros_like(mask)}
    return {name: kind(values[name]) for name in backbone.input}


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert np.allclose(found[name], value, atol=2e-6)


def test_many_shapes_are_padded_to_a_few(still, few, shapes):
    compiled = vertebra.compile(still)
    for rows, length in [(1, 3), (2, 15), (1, 16), (3, 17), (9, 30), (10, 32), (1, 49), (1, 64)]:
        assert_equal(compiled(batch(still, rows, length)), still(batch(still, rows, length)))
    assert shapes == {(1, 16), (2, 16), (3, 32), (10, 32), (1, 64)}


def test_arrays_of_jax_are_padded_too(still, few, shapes):
    import jax

    assert_equal(
        vertebra.compile(still)(batch(still, 9, 17, jax.numpy.asarray)), still(batch(still, 9, 17, jax.numpy.asarray))
    )
    assert shapes == {(10, 32)}


def test_the_first_shapes_are_compiled_as_they_are(still, shapes, monkeypatch):
    from vertebra_jax import bucketing

    monkeypatch.setattr(bucketing, "_MOST_EXACT", 2)
    compiled = vertebra.compile(still)
    for length in (3, 5, 7, 3, 5, 9):
        compiled(batch(still, 2, length))
    assert shapes == {(2, 3), (2, 5), (2, 16)}


def test_there_are_no_more_positions_than_the_model_has(arguments, few, shapes):
    backbone = vertebra.models.BertBackbone(**arguments | {"max_sequence_length": 20})
    compiled = vertebra.compile(backbone)
    assert_equal(compiled(batch(backbone, 2, 19)), backbone(batch(backbone, 2, 19)))
    assert shapes == {(2, 20)}
    with pytest.raises(ValueError, match="this backbone has 20 positions"):
        compiled(batch(backbone, 2, 21))


def test_a_row_without_tokens_is_computed_as_it_is(still, few, shapes):
    inputs = batch(still, 2, 5)
    inputs["padding_mask"][1] = 0
    assert_equal(vertebra.compile(still)(inputs), still(inputs))
    assert shapes == {(2, 5)}


def test_adapters_for_each_row(still, few, shapes):
    for name in ("a", "b"):
        still.enable_lora(2, name=name)
        for variable in still.trainable_weights:
            variable.assign(np.random.default_rng(ord(name)).normal(size=variable.shape) * 0.3)
    names, inputs = ["a", "b", *[None] * 7], batch(still, 9, 5)
    assert_equal(vertebra.compile(still)(inputs, adapters=names), still(inputs, adapters=names))
    assert shapes == {(9, 16)}


def test_a_decoder_has_one_output(few, shapes):
    decoder = vertebra.models.GPT2Backbone(
        vocabulary_size=30, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=32
    )
    inputs = batch(decoder, 3, 9)
    found, expected = vertebra.compile(decoder)(inputs), decoder(inputs)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=2e-6)
    assert shapes == {(3, 16)}


def functional():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))


@pytest.mark.parametrize("make", [functional, lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])])
def test_other_models_are_computed_as_they_are(few, make):
    model, x = make(), np.ones((3, 4), "float32")
    assert np.allclose(vertebra.compile(model)(x), model(x), atol=1e-6)


def test_a_model_on_a_backbone_is_computed_as_it_is(still, few):
    """Padding would change the mean over all positions."""
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in still.input}
    mean = keras.layers.GlobalAveragePooling1D()(still(inputs)["sequence_output"])
    model, x = keras.Model(inputs, mean), batch(still, 2, 5)
    assert np.allclose(vertebra.compile(model)(x), model(x), atol=2e-6)


def test_a_traced_call_is_of_the_caller_s_shape(still, few):
    import jax

    compiled = vertebra.compile(still)
    inputs = batch(still, 2, 5)
    traced = jax.jit(lambda ids: compiled(inputs | {"token_ids": ids})["pooled_output"])(inputs["token_ids"])
    assert np.allclose(traced, still(inputs)["pooled_output"], atol=2e-6)
