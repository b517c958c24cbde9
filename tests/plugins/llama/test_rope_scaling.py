"""Scalings of rotary positions: what is accepted, and frequencies by other formulas than those of the source."""

import math

import numpy as np
import pytest

from vertebra_llama.rope_scaling import LENGTH, TYPES, check, exponents, frequencies

WIDTH, BASE = 16, 500.0
PLAIN = BASE ** -(np.arange(0, WIDTH, 2) / WIDTH)
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, LENGTH: 128}
YARN = {"rope_type": "yarn", "factor": 4.0, LENGTH: 128}
LONGROPE = {"rope_type": "longrope", "factor": 4.0, LENGTH: 128, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
VALID = [{"rope_type": "linear", "factor": 2}, {"rope_type": "dynamic", "factor": 2.0, LENGTH: 9}, LLAMA3, YARN]
VALID += [LONGROPE, LONGROPE | {"attention_factor": 1.5}, YARN | {"truncate": False, "mscale": 0.7, "beta_fast": 20}]


@pytest.mark.parametrize("scaling", [None, *VALID], ids=str)
def test_a_scaling_is_returned_as_json(scaling):
    assert check(scaling, WIDTH, BASE) == scaling
    if scaling and "short_factor" in scaling:
        assert check(scaling | {"short_factor": (1.0,) * 8}, WIDTH, BASE) == scaling


@pytest.mark.parametrize(
    ("scaling", "told"),
    [
        ("yarn", "rope_scaling='yarn', expected None, or a rope_type of linear, dynamic, yarn, longrope, llama3."),
        ({"rope_type": "mrope"}, "expected None, or a rope_type of"),
        ({"rope_type": "linear"}, r"rope_scaling\['factor'\]=None, expected a number above 0"),
        ({"rope_type": "linear", "factor": 0}, r"\['factor'\]=0, expected a number above 0"),
        ({"rope_type": "linear", "factor": True}, r"\['factor'\]=True, expected a number above 0"),
        ({"rope_type": "linear", "factor": float("nan")}, r"\['factor'\]=nan, expected a number above 0"),
        (
            {"rope_type": "linear", "factor": 2.0, "beta_fast": 3},
            "the field 'beta_fast', expected those of linear: factor",
        ),
        (YARN | {LENGTH: 2.5}, "=2.5, expected an int from 1"),
        (YARN | {"truncate": 1}, r"\['truncate'\]=1, expected True or False"),
        (YARN | {"mscale": "x"}, r"\['mscale'\]='x', expected a number"),
        (LONGROPE | {"long_factor": [1.0] * 7}, r"\['long_factor'\] has 7 numbers, expected 8, one for each pair"),
        (LONGROPE | {"long_factor": [1.0] * 7 + [0]}, "expected a list of numbers above 0"),
        (LLAMA3 | {"high_freq_factor": 1.0}, "=1.0, expected a number above low_freq_factor=1.0"),
    ],
    ids=str,
)
def test_an_invalid_scaling_is_refused_by_its_field(scaling, told):
    with pytest.raises(ValueError, match=told):
        check(scaling, WIDTH, BASE)


def test_a_type_without_a_meaning_for_the_head_is_refused():
    for scaling, width, base in ((VALID[1], 2, BASE), (YARN, WIDTH, 1.0), (LONGROPE | {LENGTH: 1}, WIDTH, BASE)):
        with pytest.raises(ValueError, match="expected"):
            check(scaling, width, base)


def test_each_type_needs_each_of_its_fields():
    for scaling in (*VALID[:4], LONGROPE):
        for name in TYPES[scaling["rope_type"]][0]:
            with pytest.raises(ValueError, match=name):
                check({key: value for key, value in scaling.items() if key != name}, WIDTH, BASE)


def test_frequencies_without_a_scaling():
    found = frequencies(WIDTH, BASE, None)
    np.testing.assert_allclose(found.usual, PLAIN, rtol=1e-6)
    assert (found.usual.dtype, found.long, found.length, found.factor) == (np.float32, None, None, 1.0)
    np.testing.assert_allclose(exponents(6), [0, 1 / 3, 2 / 3], rtol=1e-6)


def test_linear_divides_positions():
    np.testing.assert_allclose(frequencies(WIDTH, BASE, VALID[0]).usual, PLAIN / 2, rtol=1e-6)


def test_dynamic_begins_with_the_length_of_training():
    found = frequencies(WIDTH, BASE, VALID[1])
    np.testing.assert_allclose(found.usual, PLAIN, rtol=1e-6)
    assert found.length == 9


def test_llama3_keeps_short_wavelengths_and_divides_long_ones():
    found = frequencies(WIDTH, BASE, LLAMA3).usual
    for mine, plain in zip(found, PLAIN, strict=True):
        wavelength = 2 * math.pi / plain
        if wavelength < 128 / 4:
            expected = plain
        elif wavelength > 128 / 1:
            expected = plain / 8
        else:
            share = (128 / wavelength - 1) / (4 - 1)
            expected = (1 - share) * plain / 8 + share * plain
        assert mine == pytest.approx(expected, rel=1e-5)
    assert len({round(float(ratio), 3) for ratio in found / PLAIN}) >= 3  # each of the three cases


@pytest.mark.parametrize("truncate", [True, False])
def test_yarn_keeps_fast_pairs_and_divides_slow_ones(truncate):
    found = frequencies(WIDTH, BASE, YARN | {"truncate": truncate, "beta_fast": 16, "beta_slow": 0.5}).usual
    first, last = (WIDTH * math.log(128 / (turns * 2 * math.pi)) / (2 * math.log(BASE)) for turns in (16, 0.5))
    first, last = (math.floor(first), math.ceil(last)) if truncate else (first, last)
    shares = np.clip((np.arange(8) - max(first, 0)) / (min(last, 15) - max(first, 0)), 0, 1)
    np.testing.assert_allclose(found, PLAIN * (shares / 4 + 1 - shares), rtol=1e-5)
    assert (shares[0], shares[-1]) == (0, 1)


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({}, 0.1 * math.log(4) + 1),
        ({"attention_factor": 1.7}, 1.7),
        ({"mscale": 0.7, "mscale_all_dim": 0.3}, (0.07 * math.log(4) + 1) / (0.03 * math.log(4) + 1)),
        ({"mscale": 0.7}, 0.1 * math.log(4) + 1),
        ({"factor": 0.5}, 1.0),
    ],
    ids=str,
)
def test_yarn_raises_the_temperature(fields, factor):
    assert frequencies(WIDTH, BASE, YARN | fields).factor == pytest.approx(factor)


def test_longrope_has_factors_for_short_and_long_sequences():
    found = frequencies(WIDTH, BASE, LONGROPE)
    np.testing.assert_allclose(found.usual, PLAIN, rtol=1e-6)
    np.testing.assert_allclose(found.long, PLAIN / 2, rtol=1e-6)
    assert found.length == 128
    assert found.factor == pytest.approx(math.sqrt(1 + math.log(4) / math.log(128)))
    assert frequencies(WIDTH, BASE, LONGROPE | {"attention_factor": 2}).factor == 2
    assert frequencies(WIDTH, BASE, LONGROPE | {"factor": 1.0}).factor == 1
