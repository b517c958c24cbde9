"""The tutorials run from top to bottom, on each runtime, without a network."""

import json
import re

import pytest

import vertebra
from pages import BLOCK, DOCS, code, page
from vertebra.cli import main

pytestmark = pytest.mark.keras


def run_page(name, runtime, **names):
    """Runs the code of a page in the current folder; returns its names."""
    for block in code(name):
        exec(compile(block.replace('use("torch")', f'use("{runtime}")'), name, "exec"), names)
    return names


def test_the_first_backbone(runtime, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERTEBRA_OFFLINE", "1")
    names = run_page("tutorials/first-backbone.md", runtime)
    shown = capsys.readouterr().out
    for comment in ("(2, 4, 64)", "(2, 64)", str(names["receipt"])):
        assert comment in shown
        assert comment in page("tutorials/first-backbone.md")
    assert "quary" in shown
    assert "query" in shown
    assert names["losses"][-1] < names["losses"][0] - 0.05
    assert names["same"] is True
    assert (tmp_path / "adapter.safetensors").stat().st_size < 20_000
    assert vertebra.Backbone.from_preset("./for_transformers").lora_adapters == {}


@pytest.mark.filterwarnings("ignore:.* has no values for logits/kernel, logits/bias")
def test_fine_tuning_and_sharing(runtime, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERTEBRA_OFFLINE", "1")
    names = run_page("tutorials/fine-tune-and-share.md", runtime)
    losses = names["history"].history["loss"]
    assert losses[-1] < losses[0] / 2
    assert names["classifier"].classify("the happy dog runs")["label"] == "good"
    answers = names["colleague"].classify(names["GOOD"] + names["BAD"])
    assert [answer["label"] for answer in answers] == ["good"] * 4 + ["bad"] * 4
    for command in re.findall(r"^\$ vertebra (.+?)(?: +#.*)?$", page("tutorials/fine-tune-and-share.md"), re.MULTILINE):
        words = command.split()
        assert main(words + (["--runtime", runtime] if words[0] == "verify" else [])) == 0, command
    assert json.loads((tmp_path / "trained/adapter/adapter_config.json").read_text())["peft_type"] == "LORA"
    assert len(json.loads((tmp_path / "vertebra.lock").read_text())["presets"]) == 3
    receipt = re.search(r">(lora of rank 8, scale 2,)<", (DOCS / "pictures" / "receipt.svg").read_text())[1]
    assert receipt in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folder", "printed"),
    [
        ("plugins/bert", "(1, 4, 64)"),
        ("plugins/text", "[[1."),
        ("adapters/torch", "(1, 64)"),
        ("adapters/jax", "(1, 64)"),
    ],
)
def test_the_examples_of_readmes(folder, printed, runtime, monkeypatch, capsys):
    monkeypatch.setenv("VERTEBRA_OFFLINE", "1")
    (block,) = BLOCK.findall((DOCS.parent / folder / "README.md").read_text(encoding="utf-8"))
    exec(compile(re.sub(r'use\("\w+"\)', f'use("{runtime}")', block), folder, "exec"), {})
    assert printed in capsys.readouterr().out
