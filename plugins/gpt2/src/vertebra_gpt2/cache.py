"""The keys and values that GPT-2 caches while it generates text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import CacheLayer


def layers(arguments: Mapping[str, Any]) -> list[CacheLayer]:
    """Returns what each attention layer caches, for the arguments of the backbone."""
    heads = arguments["num_heads"]
    return [CacheLayer(heads, arguments["hidden_dim"] // heads)] * arguments["num_layers"]
