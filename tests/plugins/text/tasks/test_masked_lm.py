"""Masked language models: training chooses masks, and masks are filled."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import ArgumentError

from .conftest import BAD, GOOD

pytestmark = pytest.mark.keras


@pytest.fixture
def task(preset):
    return vertebra.models.MaskedLM.from_preset(preset, False)


def test_a_share_of_the_tokens_is_masked(task):
    keras.utils.set_random_seed(0)
    texts = ["good bad fox dog the " * 4] * 50
    inputs, labels, weights = task.prepare(texts)
    before = task.encode(texts)["token_ids"]
    assert weights.sum() == 50 * 3  # 15 % of 20 tokens
    assert (np.take_along_axis(before, inputs["mask_positions"], axis=1) == labels).all()
    changed = before != inputs["token_ids"]
    masked = inputs["token_ids"] == task.tokenizer.mask_token_id
    assert 0.6 < masked.sum() / weights.sum() < 0.95
    assert changed.sum() <= weights.sum()


def test_masks_are_learned_and_filled(task):
    task.compile(keras.optimizers.Adam(1e-2))
    before = task.evaluate(GOOD + BAD, verbose=0)
    task.fit(GOOD + BAD, epochs=20, verbose=0)
    assert task.evaluate(GOOD + BAD, verbose=0) < before
    first, second = task.fill("the [MASK] dog [MASK]", top_k=2)
    assert len(first) == len(second) == 2
    assert first[0]["text"] == f"the {first[0]['token']} dog [MASK]"
    assert first[0]["score"] >= first[1]["score"]


def test_texts_without_a_mask_are_refused(task):
    with pytest.raises(ArgumentError, match=r"\[MASK\]"):
        task.fill("the dog")


def test_labels_are_refused(task):
    with pytest.raises(ArgumentError, match="no labels"):
        task.fit(GOOD, [1] * len(GOOD), verbose=0)
