"""A new GPT-2 starts with weights that were each drawn on their own, in the range that its paper gives."""

import numpy as np
import pytest

from vertebra_gpt2.backbone import GPT2Backbone

pytestmark = pytest.mark.keras

RESIDUAL = ("attention_output/kernel", "feedforward_output_dense/kernel")


def test_no_two_weights_start_alike(arguments, values):
    drawn = {name: array for name, array in values(GPT2Backbone(**arguments)).items() if array.std() > 0}
    starts = {name: tuple(array.flatten()[:5]) for name, array in drawn.items()}
    assert len(starts) == 2 * 6 + 2  # the kernels of two layers, and two embeddings
    assert len(set(starts.values())) == len(starts)


@pytest.mark.parametrize("layers", [1, 8])
def test_kernels_that_end_a_residual_branch_start_smaller_the_more_there_are(arguments, values, layers):
    found = values(GPT2Backbone(**arguments | {"num_layers": layers, "initializer_range": 0.5}))
    for name, array in found.items():
        if array.std() > 0:
            expected = 0.5 / (2 * layers) ** 0.5 if name.endswith(RESIDUAL) else 0.5
            margin = 6 / np.sqrt(2 * array.size)  # six standard errors
            assert array.std() == pytest.approx(expected, rel=margin), name
