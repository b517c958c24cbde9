"""A new BERT starts with weights that were each drawn on their own."""

import pytest

from vertebra_bert.backbone import BertBackbone

pytestmark = pytest.mark.keras


def test_no_two_weights_start_alike(arguments, values):
    drawn = {name: array for name, array in values(BertBackbone(**arguments)).items() if array.std() > 0}
    starts = {name: tuple(array.flatten()[:5]) for name, array in drawn.items()}
    assert len(starts) == 2 * 6 + 4  # the kernels of two layers and of the pooler, and three embeddings
    assert len(set(starts.values())) == len(starts)


def test_weights_start_in_the_range_that_was_asked_for(arguments, values):
    found = values(BertBackbone(**arguments | {"initializer_range": 0.5}))
    assert 0.3 < found["token_embedding/embeddings"].std() < 0.5  # of a normal cut off at two deviations
    assert 0.3 < found["transformer_layer_1/self_attention/value/kernel"].std() < 0.6
