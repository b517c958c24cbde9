"""A new Gemma starts with weights that were each drawn on their own."""

import pytest

from vertebra_gemma.backbone import GemmaBackbone

pytestmark = pytest.mark.keras


def test_no_two_weights_start_alike(arguments, values):
    drawn = {name: array for name, array in values(GemmaBackbone(**arguments)).items() if array.std() > 0}
    starts = {name: tuple(array.flatten()[:5]) for name, array in drawn.items()}
    assert len(starts) == 3 * 7 + 1  # the kernels of three layers, and the embeddings
    assert len(set(starts.values())) == len(starts)


def test_normalisations_and_biases_start_where_they_change_nothing(arguments, values):
    found = values(GemmaBackbone(**arguments, use_post_ffw_norm=True, attention_bias=True))
    assert all(not array.any() for name, array in found.items() if name.endswith(("/scale", "/bias")))


def test_weights_start_in_the_range_that_was_asked_for(arguments, values):
    found = values(GemmaBackbone(**arguments, initializer_range=0.5))
    assert 0.45 < found["token_embedding/embeddings"].std() < 0.55
    assert 0.4 < found["decoder_block_1/attention/query/kernel"].std() < 0.6


def test_weights_start_as_in_kerashub_unless_a_range_is_asked_for(arguments, values):
    found = values(GemmaBackbone(**arguments))
    assert found["token_embedding/embeddings"].std() == pytest.approx(101**-0.5, rel=0.1)
    assert abs(found["decoder_block_1/ffw_gating/kernel"]).max() <= (6 / (16 + 24)) ** 0.5
