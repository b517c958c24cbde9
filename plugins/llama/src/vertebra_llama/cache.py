"""The keys and values that a decoder caches while it generates text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import CacheLayer
from vertebra_llama.layer_types import head_dim, windows


def layers(arguments: Mapping[str, Any]) -> list[CacheLayer]:
    """Returns what each attention layer caches, for the arguments of the backbone."""
    heads, width = arguments["num_key_value_heads"], head_dim(arguments)
    return [CacheLayer(heads, width, window) for window in windows(arguments)]
