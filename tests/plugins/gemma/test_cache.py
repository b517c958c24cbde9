"""What Gemmas cache while they generate text: one entry for each attention layer, with its window."""

import pytest

from vertebra import CacheLayer
from vertebra.tasks import cache_of_architecture

SIZES = {"num_layers": 7, "num_key_value_heads": 2, "head_dim": 6, "sliding_window_size": 3, "layer_types": None}
BOTH_WAYS = "use_bidirectional_attention"
WINDOW, ALL = CacheLayer(2, 6, 3), CacheLayer(2, 6)


@pytest.mark.parametrize(
    ("backbone", "arguments", "expected"),
    [
        ("GemmaBackbone", {"use_sliding_window_attention": False}, [ALL] * 7),
        ("GemmaBackbone", {"use_sliding_window_attention": True}, [WINDOW, ALL] * 3 + [WINDOW]),
        ("Gemma3Backbone", {"use_sliding_window_attention": False, BOTH_WAYS: False}, [ALL] * 7),
        ("Gemma3Backbone", {"use_sliding_window_attention": True, BOTH_WAYS: False}, [*[WINDOW] * 5, ALL, WINDOW]),
        ("Gemma3Backbone", {"layer_types": ["full_attention"] * 7, BOTH_WAYS: False}, [ALL] * 7),
    ],
    ids=str,
)
def test_each_layer_caches_as_many_tokens_as_it_attends_to(backbone, arguments, expected):
    assert list(cache_of_architecture(backbone, SIZES | arguments)) == expected


def test_attention_in_both_directions_has_no_cache():
    assert cache_of_architecture("Gemma3Backbone", SIZES | {BOTH_WAYS: True}) == ()
