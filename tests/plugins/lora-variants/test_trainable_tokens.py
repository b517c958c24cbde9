"""Trainable tokens: only the named rows of a table train, and they replace those of the base."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import LoraConfigError, LoraStateError

pytestmark = pytest.mark.keras

ROWS = [7, 2, 0]


@pytest.fixture
def adapted(single, disturb):
    """A model of one table with three trained rows, its inputs, and the table of the base."""
    model, inputs = single("embedding")
    table = model.get_layer("target").embeddings.numpy()
    vertebra.lora.enable(model, target_names=["target"], strategy="trainable_tokens", token_indices=ROWS)
    disturb(model)
    return model, inputs, table


def test_the_rows_replace_those_of_the_base(adapted, adapter_layer, call):
    model, inputs, table = adapted
    expected = table.copy()
    expected[ROWS] = adapter_layer(model).rows.numpy()
    np.testing.assert_allclose(call(model, inputs)[0], expected[inputs], atol=1e-6)
    assert vertebra.lora.adapters(model)["default"].parameters_trained == 3 * 8


def test_other_rows_keep_every_bit_when_merged(adapted, adapter_layer):
    model, _, table = adapted
    rows = adapter_layer(model).rows.numpy()
    vertebra.lora.merge(model)
    merged = model.get_layer("target").embeddings.numpy()
    others = [number for number in range(9) if number not in ROWS]
    assert np.array_equal(merged[others], table[others])
    np.testing.assert_allclose(merged[ROWS], rows, atol=1e-6)


def test_only_rows_that_are_looked_up_train(single, adapter_layer):
    model, _ = single("embedding")
    vertebra.lora.enable(model, target_names=["target"], strategy="trainable_tokens", token_indices=ROWS)
    before = adapter_layer(model).rows.numpy()
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(np.full((4, 6), 2), np.zeros((4, 6, 8), "float32"), verbose=0)
    changed = (adapter_layer(model).rows.numpy() != before).any(axis=1)
    assert changed.tolist() == [False, True, False]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("rows", [[], [9], [-1], [1, 1], [True], ["a"], [2j], [None]], ids=str)
def test_rows_that_the_table_has_not_are_refused(rows, single):
    model, _ = single("embedding")
    with pytest.raises(LoraConfigError) as caught:
        vertebra.lora.enable(model, 1, ["target"], strategy="trainable_tokens", token_indices=rows)
    assert caught.value.field == "token_indices"


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("rows", [np.array(ROWS), [np.int64(row) for row in ROWS]], ids=repr)
def test_rows_may_be_numpy_s(rows, single, tmp_path):
    model, _ = single("embedding")
    receipt = vertebra.lora.enable(model, 1, ["target"], strategy="trainable_tokens", token_indices=rows)
    assert receipt.config.options == {"token_indices": list(ROWS)}
    vertebra.lora.save(model, tmp_path / "a.safetensors")


def test_adapters_of_one_table_are_not_mixed(adapted):
    model, _, _ = adapted
    vertebra.lora.enable(model, 1, ["target"], strategy="trainable_tokens", token_indices=[3], name="other")
    with pytest.raises(LoraStateError, match="both change 'target'"):
        vertebra.lora.activate(model, "default", "other")


def test_rows_of_positions_train(backbone, run, disturb):
    before = run(backbone)["sequence_output"]
    backbone.enable_lora(target_names=["position_embedding"], strategy="trainable_tokens", token_indices=[1])
    disturb(backbone)
    changed = np.abs(run(backbone)["sequence_output"] - before).max()
    backbone.merge_lora()
    merged = np.abs(run(backbone)["sequence_output"] - before).max()
    assert changed > 1e-3
    assert abs(merged - changed) < 1e-5
