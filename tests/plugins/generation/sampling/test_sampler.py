"""The sampler: draws have the exact distribution, and depend on nothing but seed, row, step and logits."""

import numpy as np
import pytest

from vertebra_generation.sampling.errors import LogitsError
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.sampler import Sampler, uniform

DRAWS = 20_000
SIZE = 300
FILTERS = [
    {"top_k": 0},
    {"top_k": 0, "temperature": 0.6},
    {"top_k": 0, "temperature": 2.0},
    {"top_k": 12},
    {"top_k": 0, "top_p": 0.8},
    {"top_k": 0, "min_p": 0.1},
    {"temperature": 1.5, "top_k": 30, "top_p": 0.9, "min_p": 0.05},
]


def exact(logits, temperature=1.0, top_k=50, top_p=1.0, min_p=None):
    """Returns the distribution by its definition: sorted tokens, one filter after the other."""
    scores = np.asarray(logits, "float64") / temperature
    order = np.argsort(-scores)
    probabilities = np.exp(scores - scores.max())
    if top_k:
        probabilities[order[top_k:]] = 0
    probabilities /= probabilities.sum()
    before = np.cumsum(probabilities[order]) - probabilities[order]
    probabilities[order[before >= top_p]] = 0
    probabilities[probabilities < (min_p or 0) * probabilities.max()] = 0
    return probabilities / probabilities.sum()


def drawn(logits, options, count=DRAWS, step=0):
    sampler = Sampler(options)
    return sampler.next_tokens(np.broadcast_to(logits, (count, len(logits))), range(count), step)[0]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_draws_follow_the_exact_distribution(filters):
    """The statistic is below the limit that a sample of this distribution exceeds once in a million."""
    logits = np.random.default_rng(0).normal(0, 2, SIZE).astype("float32")
    expected = exact(logits, **filters)
    counts = np.bincount(drawn(logits, GenerationOptions(do_sample=True, seed=7, **filters)), minlength=SIZE)
    assert counts[expected == 0].sum() == 0
    rare = (expected > 0) & (expected * DRAWS < 5)
    observed, wanted = counts[(expected > 0) & ~rare], expected[(expected > 0) & ~rare] * DRAWS
    if rare.any():
        observed, wanted = np.append(observed, counts[rare].sum()), np.append(wanted, expected[rare].sum() * DRAWS)
    statistic = ((observed - wanted) ** 2 / wanted).sum()
    degrees = len(wanted) - 1
    limit = degrees * (1 - 2 / (9 * degrees) + 4.75 * np.sqrt(2 / (9 * degrees))) ** 3  # of Wilson and Hilferty
    assert statistic < limit


def test_a_row_s_draws_do_not_depend_on_the_other_rows():
    logits = np.random.default_rng(0).normal(0, 2, (6, 500)).astype("float32")
    sampler = Sampler(GenerationOptions(do_sample=True, seed=3))
    together = sampler.next_tokens(logits, range(6), 4)[0]
    alone = [sampler.next_tokens(logits[[row]], [row], [4])[0][0] for row in range(6)]
    some = sampler.next_tokens(logits[[5, 2]], [5, 2], [4, 4])[0]
    assert together.tolist() == alone
    assert some.tolist() == together[[5, 2]].tolist()
    assert together.dtype == "int32"


def test_draws_depend_on_seed_row_and_step():
    logits = np.zeros((1, 10_000), "float32")

    def token(seed, row, step):
        sampler = Sampler(GenerationOptions(do_sample=True, seed=seed, top_k=0))
        return int(sampler.next_tokens(logits, [row], step)[0][0])

    found = [token(*item) for item in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2), (1, 2, 3)]]
    assert found[0] == found[-1]
    assert len(set(found)) == 5
    assert len({Sampler(GenerationOptions(do_sample=True)).seed for _ in range(5)}) == 5


def test_the_numbers_of_a_seed_stay_the_same():
    """The stream of Philox is a part of the meaning of a seed."""
    assert [uniform(0, 0, 0), uniform(1, 2, 3), uniform(2**64 - 1, 10**6, 10**6)] == NUMBERS


NUMBERS = [0.011546754286331562, 0.9337443921724664, 0.5630365513305515]


def test_the_token_of_a_number_is_the_first_whose_cumulative_probability_exceeds_it():
    """Also across the blocks of a long vocabulary."""
    for size in (40, 1000):
        logits = np.random.default_rng(size).normal(0, 1, size).astype("float32")
        logits[::7] = -np.inf
        options = GenerationOptions(do_sample=True, seed=5, top_k=0)
        ends = np.cumsum(exact(logits, top_k=0))
        expected = [int(np.searchsorted(ends, uniform(5, row, 9), side="right")) for row in range(2000)]
        assert drawn(logits, options, 2000, 9).tolist() == expected


def test_greedy_takes_the_first_of_the_most_probable_tokens_with_its_log_probability():
    logits = np.array([[0.0, 2.0, 2.0], [5.0, -np.inf, 1.0]], "float32")
    tokens, log_probabilities = Sampler(GenerationOptions()).next_tokens(logits, [0, 1], 0)
    assert tokens.tolist() == [1, 0]
    expected = np.log([np.e**2 / (1 + 2 * np.e**2), np.e**5 / (np.e**5 + np.e)])
    assert np.allclose(log_probabilities, expected, atol=1e-6)
    assert log_probabilities.dtype == "float32"


def test_a_low_temperature_is_greedy():
    logits = np.random.default_rng(1).normal(0, 3, 300).astype("float32")
    for temperature in (1e-3, 1e-7, 1e-40, 1e-300):
        options = GenerationOptions(do_sample=True, temperature=temperature, top_k=0, seed=1)
        assert set(drawn(logits, options, 50)) == {logits.argmax()}


@pytest.mark.parametrize("filters", [{"top_p": 0.0}, {"min_p": 1.0}, {"top_k": 1}])
def test_the_most_probable_token_always_remains(filters):
    logits = np.random.default_rng(1).normal(0, 3, 3000).astype("float32")
    assert set(drawn(logits, GenerationOptions(do_sample=True, seed=1, **({"top_k": 0} | filters)), 50)) == {
        logits.argmax()
    }


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "every token is forbidden")]
)
@pytest.mark.parametrize("do_sample", [True, False])
def test_logits_without_a_token_are_refused(value, words, do_sample):
    logits = np.full((2, 5), value, "float32") if value == -np.inf else np.zeros((2, 5), "float32")
    logits[0] = 0
    logits[1, 3] = value
    with pytest.raises(LogitsError, match=words) as caught:
        Sampler(GenerationOptions(do_sample=do_sample, seed=0)).next_tokens(logits, [4, 9], 6)
    assert (caught.value.row, caught.value.step) == (9, 6)


def test_flat_distributions_have_a_wide_nucleus():
    logits = np.zeros(40_000, "float32")
    logits[5] = 1
    tokens = drawn(logits, GenerationOptions(do_sample=True, seed=1, top_k=0, top_p=0.5), 300)
    assert (tokens[tokens != 5] >= 20_000 - 2).all()  # of equal tokens, transformers drops the first ones
    assert len(set(tokens)) > 250
