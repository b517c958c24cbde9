"""The tokens from which one is drawn: temperature, top-k, top-p and min-p, with the meaning of transformers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.selection import Array, reaching

_INTERVALS, _INTERVALS_PER_UNIT = 4096, 128
_COLD = 1e-6


@dataclass(frozen=True, slots=True)
class Candidates:
    """The tokens from which one is drawn."""

    ids: Array | None
    """Their ids in ascending order, shape (count,); None means the whole vocabulary."""
    weights: Array
    """Their probabilities up to a factor, the largest of which is 1: shape (count,); float64, or float32 for the whole
    vocabulary."""


def candidates(logits: Array, options: GenerationOptions) -> Candidates:
    """Returns the candidates of one row.

    The options apply one after the other: temperature, top-k, top-p, min-p. The most probable token always remains.

    Args:
        logits: float32, shape (vocabulary,), with a finite maximum and without NaN.
        options: Options for sampling.
    """
    scaled = _scaled(logits, options.temperature)
    peak = scaled.max()
    ids = None
    if 0 < options.top_k < len(scaled):
        ids = reaching(scaled, options.top_k)
    if options.top_p < 1:
        ids = _nucleus(scaled, ids, options.top_p, peak)
    if options.min_p:
        ids = _probable(scaled, ids, options.min_p, peak)
    if ids is None:
        return Candidates(None, np.exp(scaled - peak))
    return Candidates(ids, _weights(scaled[ids], peak))


def _scaled(logits: Array, temperature: float) -> Array:
    if temperature == 1:
        return logits
    if temperature >= _COLD:
        return logits / np.float32(temperature)
    with np.errstate(over="ignore"):  # float32 does not hold the quotients: only differences from the maximum count
        return ((logits.astype("float64") - float(logits.max())) / temperature).astype("float32")


def _weights(logits: Array, peak: np.float32) -> Array:
    return np.exp(logits.astype("float64") - peak)


def _nucleus(scaled: Array, ids: Array | None, top_p: float, peak: np.float32) -> Array:
    """Returns the fewest most probable of some ids, in ascending order, whose share of the probability is `top_p`."""
    if ids is None:
        weights = np.exp(scaled - peak)
        total = float(weights.sum(dtype="float64"))
        least = (1 - top_p) * total / len(scaled)
        # All tokens that weigh less weigh less than 1 - top_p together, so that none of them is in the nucleus.
        ids = np.flatnonzero(weights >= np.float32(0.99 * least))
    else:
        total = float(_weights(scaled[ids], peak).sum())
    wanted = top_p * total
    logits = scaled[ids]
    # Logits are counted by intervals, as sorting takes ten times as long: only those of one interval are sorted.
    intervals = np.minimum((peak - logits) * np.float32(_INTERVALS_PER_UNIT), np.float32(_INTERVALS)).astype("int32")
    totals = np.cumsum(np.bincount(intervals, np.exp(logits - peak), _INTERVALS + 1))
    split = min(int(np.searchsorted(totals, wanted, side="left")), _INTERVALS)
    chosen = intervals < split
    within = np.flatnonzero(intervals == split)
    if len(within):
        before = float(totals[split - 1]) if split else 0.0
        chosen[within[_in_nucleus(logits[within], wanted - before, peak)]] = True
    nucleus: Array = ids[chosen]
    return nucleus


def _in_nucleus(scaled: Array, wanted: float, peak: np.float32) -> Array:
    """Returns which logits belong to the fewest largest ones with a weight of `wanted`; of equal ones, the last.

    At least one of them does.
    """
    descending = np.sort(scaled)[::-1]
    before = np.cumsum(_weights(descending, peak))
    count = 1 + int(np.count_nonzero(before[:-1] < wanted))
    smallest = descending[count - 1]
    chosen: Array = scaled > smallest
    equal = np.flatnonzero(scaled == smallest)
    chosen[equal[len(equal) - (count - np.count_nonzero(chosen)) :]] = True
    return chosen


def _probable(scaled: Array, ids: Array | None, min_p: float, peak: np.float32) -> Array:
    if ids is None:
        ids = np.flatnonzero(scaled >= peak + np.log(min_p) - 1e-3)
    return ids[_weights(scaled[ids], peak) >= min_p]
