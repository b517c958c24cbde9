"""The perplexity of next tokens."""

import keras
import numpy as np
import pytest

from vertebra_generation import Perplexity

pytestmark = pytest.mark.keras


def test_perplexity_is_the_exponential_of_the_mean_over_all_batches():
    draws = np.random.default_rng(0)
    logits, labels = draws.normal(size=(4, 5, 7)).astype("float32"), draws.integers(0, 7, (4, 5)).astype("int32")
    weights = draws.integers(0, 2, (4, 5)).astype("float32")
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_probabilities, labels[:, :, None], -1)[:, :, 0]
    metric = Perplexity()
    for rows in (slice(0, 1), slice(1, 4)):
        metric.update_state(labels[rows], logits[rows], weights[rows])
    np.testing.assert_allclose(float(metric.result()), np.exp(-(chosen * weights).sum() / weights.sum()), rtol=1e-5)
    metric.reset_state()
    metric.update_state(labels, logits)
    np.testing.assert_allclose(float(metric.result()), np.exp(-chosen.mean()), rtol=1e-5)


def test_perplexity_without_tokens_is_one():
    assert float(Perplexity().result()) == 1


@pytest.mark.keras(once=True)
def test_it_is_restored_from_its_config():
    again = keras.metrics.deserialize(keras.metrics.serialize(Perplexity(name="mine")))
    assert (type(again), again.name) == (Perplexity, "mine")
