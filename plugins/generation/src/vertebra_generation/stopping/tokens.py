"""`StopTokens`: token ids that end an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra_generation.sampling.selection import Array


class StopTokens:
    """Token ids that end an answer.

    Args:
        ids: The token ids; none if answers end by their length alone.
    """

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self.ids = tuple(dict.fromkeys(ids))
        self._sorted = np.array(sorted(self.ids), "int64")

    def __contains__(self, token: object) -> bool:
        return token in self.ids

    def found(self, tokens: Sequence[int] | Array) -> Array:
        """Returns which tokens end an answer: bool, shape (rows,)."""
        return np.isin(np.asarray(tokens), self._sorted)
