"""The page about generating text: its code runs from top to bottom, on both runtimes."""

import keras
import pytest

import vertebra
from byte_tokenizer import SIZE, write_tokenizer
from pages import code

pytestmark = pytest.mark.keras

SIZES = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "max_sequence_length": 128}


def test_the_page_about_generating_runs_from_top_to_bottom(tmp_path, monkeypatch, runtime, capsys):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    vertebra.models.GPT2Backbone(SIZE, **SIZES).save_to_preset("my_gpt2", format="transformers")
    write_tokenizer(tmp_path / "my_gpt2")
    names = {}
    for block in code("how-to/generate-text.md"):
        exec(compile(block.replace('use("torch")', f'use("{runtime}")'), "page.py", "exec"), names)
    assert names["text"].startswith("the quick brown")
    assert "a good dog" + names["texts"][1] == names["lm"].generate("a good dog", max_new_tokens=20)
    assert names["answer"].finish_reason in ("length", "stop_string")
    assert len(names["sampled"]) == 3
    assert all(isinstance(names[name], str) for name in ("beams", "contrastive", "reply"))
    assert len(names["answers"]) == 2
    assert capsys.readouterr().out == names["lm"].generate("the quick brown", max_new_tokens=20, strip_prompt=True)
