"""Plain-LoRA export: a strategy that other libraries lack is written as an equivalent product, or refused."""

import json

import numpy as np
import pytest

import vertebra
from vertebra.builtin.lora import Lora
from vertebra.errors import LoraConfigError

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(
    ("strategy", "rank"), [("lora_plus", 2), ("vera", 2), ("pissa", 4), ("keras", 4)], ids=lambda value: str(value)
)
def test_a_product_is_written_as_plain_lora_for_peft(backbone, golden, fill, run, tmp_path, strategy, rank):
    base = run(backbone)["pooled_output"]
    backbone.enable_lora(2, strategy=strategy, alpha=3, seed=0)
    fill(backbone)
    backbone.save_lora_weights(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["use_dora"], config["use_rslora"]) == (rank, rank, False, False)
    again = vertebra.Backbone.from_preset(golden / "transformers")
    receipt = again.load_lora_weights(tmp_path / "adapter")
    assert receipt.config.strategy == "lora"
    found, expected = run(again)["pooled_output"], run(backbone)["pooled_output"]
    assert np.abs(found - expected).max() <= 1e-5
    assert np.abs(expected - base).max() > 0.005


@pytest.mark.parametrize("strategy", ["lora_plus", "vera", "pissa", "keras"])
def test_the_short_form_keeps_the_strategy(backbone, golden, fill, run, tmp_path, strategy):
    backbone.enable_lora(2, strategy=strategy, alpha=3)
    fill(backbone)
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    again = vertebra.Backbone.from_preset(golden / "transformers")
    assert again.load_lora_weights(tmp_path / "adapter.safetensors").config.strategy == strategy
    assert np.array_equal(run(again)["pooled_output"], run(backbone)["pooled_output"])


class Another(Lora):
    """A change that is not a product, as the strategy declares."""

    name = "another"
    peft_fields = None
    is_low_rank = False


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("name", ["adapter", "adapter.lora.h5"])
@pytest.mark.parametrize("strategy", ["another", "dora"])
def test_what_is_no_product_is_refused_where_the_form_has_no_name_for_it(
    backbone, fill, tmp_path, digest, install_strategy, strategy, name
):
    if (strategy, name) == ("dora", "adapter"):
        pytest.skip("PEFT has DoRA")
    install_strategy(Another())
    backbone.enable_lora(2, strategy=strategy)
    fill(backbone)
    with pytest.raises(LoraConfigError) as caught:
        backbone.save_lora_weights(tmp_path / name)
    assert (caught.value.field, caught.value.value) == ("strategy", strategy)
    assert digest(tmp_path) == {}
