"""Filters: the candidates are those of sorting the whole vocabulary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vertebra_generation.sampling.filters import candidates
from vertebra_generation.sampling.options import GenerationOptions


def sorted_nucleus(logits, top_p):
    """Returns the ids by the definition, in float64: ascending sums up to 1 - top_p are left out."""
    order = np.argsort(logits, kind="stable")
    weights = np.exp(logits[order].astype("float64") - logits.max())
    sums = np.cumsum(weights[::-1])[::-1] - weights  # of the more probable tokens
    kept = sums < top_p * weights.sum() * (1 - 1e-12)
    kept[-1] = True
    return set(order[kept].tolist())


@given(
    st.integers(1, 3000),
    st.sampled_from([0.001, 0.5, 3.0, 30.0]),
    st.sampled_from([0.0, 0.05, 0.5, 0.9, 0.99]),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_the_nucleus_is_that_of_a_sorted_row(size, spread, top_p, seed, holes):
    draws = np.random.default_rng(seed)
    logits = draws.normal(0, spread, size).astype("float32")
    if holes:
        logits[1:][draws.random(size - 1) < 0.3] = -np.inf
    options = GenerationOptions(do_sample=True, top_k=0, top_p=top_p)
    found = candidates(logits, options)
    wanted = sorted_nucleus(logits, top_p)
    weights = np.exp(logits.astype("float64") - logits.max())
    differing = sorted(wanted ^ set(found.ids.tolist()))
    assert weights[differing].sum() <= 2e-6 * weights.sum()  # a rounded sum may include one token more or less
    assert len(differing) <= 1
    assert (np.diff(found.ids) > 0).all()


@given(st.integers(2, 500), st.integers(1, 600), st.integers(0, 2**32), st.integers(2, 50))
def test_top_k_keeps_equal_logits(size, top_k, seed, distinct):
    logits = np.random.default_rng(seed).integers(0, distinct, size).astype("float32")
    found = candidates(logits, GenerationOptions(do_sample=True, top_k=top_k))
    expected = np.flatnonzero(logits >= np.sort(logits)[::-1][min(top_k, size) - 1])
    ids = np.arange(size) if found.ids is None else found.ids
    assert ids.tolist() == expected.tolist()


@given(st.integers(1, 500), st.sampled_from([0.0, 0.01, 0.3, 1.0]), st.integers(0, 2**32), st.sampled_from([0, 40]))
def test_min_p_is_relative_to_the_most_probable_token(size, min_p, seed, top_k):
    logits = np.random.default_rng(seed).normal(0, 2, size).astype("float32")
    found = candidates(logits, GenerationOptions(do_sample=True, top_k=top_k, min_p=min_p))
    kept = np.exp(logits.astype("float64") - logits.max()) >= min_p
    if 0 < top_k < size:
        kept &= logits >= np.sort(logits)[::-1][top_k - 1]
    ids = np.arange(size) if found.ids is None else found.ids
    assert ids.tolist() == np.flatnonzero(kept).tolist()
    assert found.weights.max() == 1
