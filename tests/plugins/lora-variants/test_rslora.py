"""rsLoRA: plain LoRA whose scale is alpha / √rank."""

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(("rank", "alpha", "scale"), [(1, None, 1), (4, None, 2), (4, 3, 1.5), (2, 8, 8 / 2**0.5)])
def test_the_scale_is_alpha_over_the_root_of_the_rank(rank, alpha, scale, single, adapter_layer):
    model, _ = single("dense")
    vertebra.lora.enable(model, rank, ["target"], alpha=alpha, strategy="rslora")
    assert adapter_layer(model).scale == pytest.approx(scale)


def test_a_rank_and_alpha_of_its_own_count_for_a_layer(backbone, adapter_layers):
    backbone.enable_lora(4, alpha=2, strategy="rslora", rank_pattern={"query": 1}, alpha_pattern={"value": 6})
    scales = {path.rpartition("/")[2]: adapter_layer.scale for path, adapter_layer in adapter_layers(backbone).items()}
    assert scales == {"query": 2.0, "value": 3.0}


def test_it_computes_what_plain_lora_does_at_that_scale(single, call, disturb):
    outputs = []
    for strategy, alpha in (("rslora", 2), ("lora", 4)):
        model, inputs = single("dense")
        vertebra.lora.enable(model, 4, ["target"], alpha=alpha, strategy=strategy, seed=0)
        disturb(model)
        outputs.append(call(model, inputs)[0])
    assert np.array_equal(*outputs)
