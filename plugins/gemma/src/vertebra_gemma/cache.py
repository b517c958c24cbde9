"""The keys and values that Gemmas cache while they generate text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vertebra import CacheLayer
from vertebra_gemma.arguments import SLIDING, gemma3_layer_types, gemma_layer_types


def gemma(arguments: Mapping[str, Any]) -> list[CacheLayer]:
    """Returns what each attention layer of a `GemmaBackbone` caches, for the arguments of the backbone."""
    return _layers(arguments, gemma_layer_types(arguments))


def gemma3(arguments: Mapping[str, Any]) -> list[CacheLayer] | None:
    """Returns the same for a `Gemma3Backbone`; None for one that attends in both directions, which is no decoder."""
    if arguments["use_bidirectional_attention"]:
        return None
    return _layers(arguments, gemma3_layer_types(arguments))


def _layers(arguments: Mapping[str, Any], types: Sequence[str]) -> list[CacheLayer]:
    heads, width = arguments["num_key_value_heads"], arguments["head_dim"]
    windows = {SLIDING: arguments["sliding_window_size"]}
    return [CacheLayer(heads, width, windows.get(kind)) for kind in types]
