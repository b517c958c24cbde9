"""`Sampler`: chooses the next token of each row from logits, the most probable one or by a draw."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from vertebra_generation.sampling.errors import LogitsError
from vertebra_generation.sampling.filters import Candidates, candidates
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.selection import Array

_BLOCK = 256


class Sampler:
    """Chooses the next token of each row.

    A draw depends on the seed, the number of the row, the step and the logits of the row, and not on the other rows of
    a batch, its size, or the runtime.

    Args:
        options: `do_sample`, the filters, and the seed.
    """

    def __init__(self, options: GenerationOptions) -> None:
        self.options = options
        self.seed = secrets.randbits(64) if options.seed is None else options.seed
        """The seed of the draws: that of the options, or a random one."""

    def next_tokens(
        self, logits: Array, rows: Sequence[int] | Array, step: int | Sequence[int] | Array
    ) -> tuple[Array, Array]:
        """Returns the next token of each row, and its log-probability in the logits.

        Args:
            logits: Logits that `Processors.apply` returned: float32, shape (rows, vocabulary).
            rows: The number of each row among all answers of the call, which stays the same while other rows end.
            step: The number of the token in its answer, from 0: one for all rows, or one for each.

        Returns:
            Token ids, int32, and their log-probabilities before temperature and filters, float32: shape (rows,).

        Raises:
            LogitsError: all tokens of a row are forbidden, or its logits are not numbers.
        """
        numbers = np.asarray(rows, "int64")
        steps = np.broadcast_to(np.asarray(step, "int64"), numbers.shape)
        tokens = logits.argmax(axis=1)
        peaks = logits[np.arange(len(numbers)), tokens]  # NaN where a logit is NaN
        for index in np.flatnonzero(~np.isfinite(peaks)):
            raise _wrong(int(numbers[index]), int(steps[index]), float(peaks[index]))
        if self.options.do_sample:
            found = [self._drawn(*item) for item in zip(logits, numbers.tolist(), steps.tolist(), strict=True)]
            tokens = np.array(found, "int64")
        chosen = logits[np.arange(len(numbers)), tokens]
        return tokens.astype("int32"), (chosen - _log_totals(logits, peaks)).astype("float32")

    def _drawn(self, logits: Array, row: int, step: int) -> int:
        return _position(candidates(logits, self.options), uniform(self.seed, row, step))


def uniform(seed: int, row: int, step: int) -> float:
    """Returns a random number from 0 to below 1, one of 2^53, which the arguments determine.

    It is the first output of Philox 4x64 with the seed as its key, and the row and the step as its counter.
    """
    bits = np.random.Philox(key=seed, counter=[0, step, row, 0]).random_raw()
    return float(int(bits) >> 11) * 2.0**-53


def _position(found: Candidates, number: float) -> int:
    """Returns the id whose interval of the cumulative distribution, in order of ids, holds a number from 0 to 1."""
    if found.ids is not None:
        return int(found.ids[_interval(np.cumsum(found.weights), number)])
    blocks = np.add.reduceat(found.weights, np.arange(0, len(found.weights), _BLOCK), dtype="float64")
    ends = np.cumsum(blocks)
    block = _interval(ends, number)
    start = block * _BLOCK
    inner = np.cumsum(found.weights[start : start + _BLOCK], dtype="float64")
    before = ends[block] - blocks[block]
    return start + _interval(inner, (number * ends[-1] - before) / inner[-1])


def _interval(ends: Array, number: float) -> int:
    """Returns the index of the first interval that ends above a share of the whole; no empty one."""
    last = int(np.searchsorted(ends, ends[-1], side="left"))
    return min(int(np.searchsorted(ends, max(number, 0.0) * ends[-1], side="right")), last)


def _log_totals(logits: Array, peaks: Array) -> Array:
    """Returns the logarithm of the sum of the exponentials of each row, float64."""
    sums = [np.exp(row - peak).sum() for row, peak in zip(logits, peaks, strict=True)]
    totals: Array = peaks + np.log(np.array(sums, "float64"))
    return totals


def _wrong(row: int, step: int, peak: float) -> LogitsError:
    if peak == -np.inf:
        remedy = "Loosen bad_words, no_repeat_ngram_size or min_new_tokens"
        return LogitsError(row, step, "every token is forbidden", remedy)
    problem = f"its logits hold {'NaN' if np.isnan(peak) else 'infinity'}"
    return LogitsError(row, step, problem, "Check the weights, or compute in float32 or bfloat16 instead of float16")
