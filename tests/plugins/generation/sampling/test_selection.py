"""The largest numbers of a row are those that sorting finds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vertebra_generation.sampling.selection import largest, reaching


@given(st.integers(1, 3000), st.integers(1, 400), st.integers(0, 2**32), st.sampled_from([3, 100, 10**9]))
def test_the_largest_are_found_with_ties(length, count, seed, distinct):
    draws = np.random.default_rng(seed)
    row = (draws.integers(0, distinct, length) / distinct).astype("float32")
    row[draws.random(length) < 0.2] = -np.inf
    order = np.argsort(-row, kind="stable")[:count]
    assert largest(row, count).tolist() == order.tolist()
    assert reaching(row, count).tolist() == np.flatnonzero(row >= row[order[-1]]).tolist()
