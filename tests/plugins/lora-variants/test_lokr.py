"""LoKr: compared with numpy's Kronecker product, for every way to decompose the two factors."""

import numpy as np
import pytest

import vertebra
from vertebra_lora_variants.lokr import _split

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(
    ("rank", "options", "names"),
    [
        (1, {}, ["w1", "w2_a", "w2_b"]),
        (1, {"decompose_both": True}, ["w1_a", "w1_b", "w2_a", "w2_b"]),
        (4, {}, ["w1", "w2"]),
        (1, {"decompose_factor": 2}, ["w1", "w2_a", "w2_b"]),
    ],
    ids=str,
)
def test_it_computes_the_papers_formula(rank, options, names, single, adapter_layer, call, disturb):
    model, inputs = single("dense", activation=None, units=9)
    before, _ = call(model, inputs)
    vertebra.lora.enable(model, rank, ["target"], alpha=3, strategy="lokr", seed=1, **options)
    disturb(model)
    values = {variable.name: variable.numpy() for variable in adapter_layer(model).weights}
    assert sorted(values) == names
    factors = [values[w] if w in values else values[f"{w}_b"] @ values[f"{w}_a"] for w in ("w1", "w2")]
    np.testing.assert_allclose(call(model, inputs)[0], before + 3 / rank * inputs @ np.kron(*factors), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "factor", "expected"),
    [(256, -1, (16, 16)), (128, -1, (8, 16)), (127, -1, (1, 127)), (128, 4, (4, 32)), (128, 64, (64, 2)),
     (48, 5, (4, 12)), (12, 5, (3, 4)), (768, 10, (8, 96)), (1, -1, (1, 1))],
)  # fmt: skip
def test_dimensions_are_split_as_in_peft(size, factor, expected):
    assert _split(size, factor) == expected
