"""Several texts in a row: a decoder computes each as if it were alone."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra import layers
from vertebra.testing.backbones.inputs import disturb

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 24}
ROTARY = SIZES | {"num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
DECODERS = {
    "GPT2Backbone": SIZES | {"num_heads": 2, "max_sequence_length": 12},
    "GemmaBackbone": ROTARY | {"use_sliding_window_attention": True, "sliding_window_size": 3},
    "LlamaBackbone": ROTARY,
}
"""Decoders with learned positions, with windows, and with rotary positions."""
NUMBERS = np.array([[1, 1, 1, 2, 2, 2, 2, 0], [1, 2, 3, 3, 3, 3, 3, 3]], "int32")


@pytest.fixture(params=DECODERS)
def backbone(request):
    made = getattr(vertebra.models, request.param)(**DECODERS[request.param])
    disturb(made.weights)
    return made


def convert(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_each_text_of_a_row_has_the_states_that_it_has_alone(backbone):
    ids = np.random.default_rng(0).integers(0, 50, NUMBERS.shape).astype("int32")
    with layers.packed(NUMBERS):
        packed = convert(backbone({"token_ids": ids, "padding_mask": NUMBERS}))
    for row, number in ((0, 1), (0, 2), (1, 1), (1, 2), (1, 3)):
        chosen = NUMBERS[row] == number
        alone = backbone({"token_ids": ids[row, chosen][None]})
        np.testing.assert_allclose(packed[row, chosen], convert(alone)[0], atol=1e-5)


def test_positions_begin_at_zero_in_each_text():
    assert convert(layers.positions(NUMBERS)).tolist() == [list(range(8))]
    with layers.packed(NUMBERS):
        found = convert(layers.positions(NUMBERS))
    assert found.tolist() == [[0, 1, 2, 0, 1, 2, 3, 0], [0, 0, 0, 1, 2, 3, 4, 5]]


def test_no_numbers_mean_rows_of_one_text():
    with layers.packed(NUMBERS), layers.packed(None):
        assert convert(layers.positions(NUMBERS)).tolist() == [list(range(8))]


def test_a_window_counts_tokens_of_the_text():
    with layers.packed(NUMBERS):
        mask = convert(layers.CausalMask(window=2)(NUMBERS))
    attended = [np.flatnonzero(row).tolist() for row in mask[0, 0]]
    assert attended == [[0], [0, 1], [1, 2], [3], [3, 4], [4, 5], [5, 6], [7]]
