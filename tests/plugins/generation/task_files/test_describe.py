"""The description of causal language models, from config and headers."""

import json

import pytest

import vertebra
from vertebra.cli import main

pytestmark = pytest.mark.keras(once=True)


@pytest.fixture
def inspect(capsys):
    def inspect(folder):
        assert main(["inspect", str(folder), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return inspect


@pytest.mark.parametrize(
    ("format", "own_head"),
    [("native", False), ("native", True), ("transformers", False), ("transformers", True), ("kerashub", False)],
)
def test_a_preset_names_the_task_and_its_parameters(format, own_head, make, inspect, tmp_path):
    make(own_head=own_head).save_to_preset(tmp_path / "saved", format=format)
    (task,) = inspect(tmp_path / "saved")["tasks"]
    assert (task["task"], task["parameters"]) == ("CausalLM", 300 * 16 if own_head else 0)
    assert task["settings"].get("own_head", False) is own_head


def test_a_backbone_alone_has_no_task(make, inspect, tmp_path):
    for format in ("native", "transformers", "kerashub"):
        make().backbone.save_to_preset(tmp_path / format, format=format)
        assert inspect(tmp_path / format)["tasks"] == []


def test_the_head_of_an_encoder_is_no_causal_one(inspect, tmp_path):
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8}
    vertebra.models.BertBackbone(63, **sizes).save_to_preset(tmp_path / "bert", format="transformers")
    config = tmp_path / "bert" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"architectures": ["BertLMHeadModel"]}))
    assert "CausalLM" not in [task["task"] for task in inspect(tmp_path / "bert")["tasks"]]


def test_the_usage_of_a_model_card_runs(make, tmp_path):
    from vertebra_generation.task_files.describe import describe

    lm = make()
    lm.save_to_preset(tmp_path / "saved", format="transformers")
    files = vertebra.open_files(tmp_path / "saved")
    preset = vertebra.DescribedPreset(
        "transformers", "GPT2Backbone", lm.backbone.constructor_config(), files, None, lm.tokenizer
    )
    facts = describe("CausalLM", preset)
    assert (facts.pipeline_tag, facts.parameters) == ("text-generation", 0)
    names = {"task": vertebra.models.CausalLM.from_preset(tmp_path / "saved")}
    for line in facts.usage:
        exec(line, names)
    assert facts.usage
