"""The page about fine-tuning a decoder: its code runs from top to bottom, on both runtimes, and trains."""

import json

import keras
import numpy as np
import pytest

import vertebra
from byte_tokenizer import SIZE, TEXTS, write_tokenizer
from pages import code

pytestmark = pytest.mark.keras

SIZES = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "max_sequence_length": 64}


def test_the_page_about_completions_runs_from_top_to_bottom(tmp_path, monkeypatch, runtime):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    vertebra.models.GPT2Backbone(SIZE, **SIZES).save_to_preset("my_gpt2", format="transformers")
    write_tokenizer(tmp_path / "my_gpt2")
    names = {}
    for block in code("how-to/fine-tune-on-completions.md"):
        exec(compile(block.replace('use("torch")', f'use("{runtime}")'), "page.py", "exec"), names)
    assert (names["after"] > names["before"]).all()
    assert set(names["history"].history) == {"loss", "perplexity"}
    assert names["perplexity"] == pytest.approx(np.exp(names["loss"]), rel=1e-3)
    assert set(names["tokens"]) == {"score", "tokens", "token_ids", "log_probabilities"}
    assert names["best"] in (0, 1, 2)
    again = vertebra.models.CausalLM.from_preset("my_animals")
    np.testing.assert_allclose(again.predict(TEXTS), names["lm"].predict(TEXTS), atol=1)
    config = json.loads((tmp_path / "my_animals" / "config.json").read_text())
    assert config["architectures"] == ["GPT2LMHeadModel"]
