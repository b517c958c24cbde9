"""`Prefix`: tokens that many prompts begin with, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from vertebra import CacheLayout, layers


@dataclass(frozen=True, slots=True)
class Prefix:
    """The keys and values of tokens before a prompt."""

    cache: Any
    """The cache, of which the first row is used."""
    layout: CacheLayout
    slots: int
    """Number of slots in use."""
    length: int
    """Number of tokens."""

    def cache_for(self, layout: CacheLayout, rows: int) -> Any:
        """Returns a cache of larger sizes, with a number of rows that all begin with these tokens."""
        numbers = np.zeros(rows, "int32")
        # Copies, also for one row: a session may write to the memory of its cache.
        repeated = (tuple(ops.take(tensor, numbers, axis=0) for tensor in tensors) for tensors in self.cache)
        return layers.grown_cache(layers.Cache(*repeated), self.layout, layout)
