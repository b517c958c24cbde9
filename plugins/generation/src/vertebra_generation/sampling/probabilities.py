"""Log-probabilities of logits."""

from __future__ import annotations

import numpy as np

from vertebra_generation.sampling.selection import Array


def log_probabilities(logits: Array) -> Array:
    """Returns the logarithms of the softmax of each row: float32, shape (rows, vocabulary), as `logits`."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    for row in shifted:
        row -= np.log(np.exp(row).sum(dtype="float64"))
    result: Array = shifted
    return result


def probabilities(logits: Array) -> Array:
    """Returns the softmax of each row: float32, shape (rows, vocabulary), as `logits`."""
    weights: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    for row in weights:
        row /= row.sum(dtype="float64")
    return weights
