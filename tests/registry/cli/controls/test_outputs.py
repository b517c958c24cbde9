"""Outputs of the commands that import a framework, and files of presets, against their schemas."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import vertebra
from checked_json import check
from vertebra.cli import main

pytestmark = pytest.mark.keras(once=True)

ROOT = Path(__file__).parents[4]
BERT = ROOT / "tests" / "golden" / "bert"
DEMO = ROOT / "plugins" / "bert" / "src" / "vertebra_bert" / "demo" / "preset"


@pytest.fixture
def run(capsys):
    """Returns a function that runs a command, checks its output against its schema, and returns it."""

    def command(*words, name=None, status=0):
        assert main([*map(str, words), "--json"]) == status
        found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # NaN is no JSON
        check(name or str(words[0]), found)
        return found

    return command


@pytest.mark.parametrize("source", ["transformers", "kerashub_int8", "transformers_sharded"])
def test_convert_and_the_files_that_it_writes(run, source, tmp_path):
    assert run("convert", BERT / source, tmp_path / "out")["tensors"]
    check("native-config", json.loads((tmp_path / "out" / "config.json").read_text()))
    check("native-metadata", json.loads((tmp_path / "out" / "metadata.json").read_text()), closed=True)


def test_plan_with_everything(run):
    found = run("plan", BERT / "transformers_head", "--lora-rank", "4", "--dtype", "bfloat16")
    assert found["fits"].keys() == {"run", "train all", "train LoRA"}


def test_a_certificate_with_texts_and_a_preset_without_one(run, tmp_path):
    vertebra.Backbone.from_preset(BERT / "transformers").save_to_preset(tmp_path / "own")
    assert run("verify", tmp_path / "own")["holds"] is True
    assert run("verify", BERT / "transformers", "--strict-finite")["holds"] is None
    with pytest.warns(UserWarning, match="initialised randomly"):
        task = vertebra.models.TextClassifier.from_preset(DEMO, num_classes=2)
    task.save_to_preset(tmp_path / "task")
    assert run("verify", tmp_path / "task")["texts"]["holds"] is True


def test_outputs_that_are_not_finite(run, tmp_path):
    vertebra.Backbone.from_preset(BERT / "transformers").save_to_preset(tmp_path / "own")
    path = tmp_path / "own" / "model.safetensors"
    with safe_open(path, "numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file({name: np.full_like(tensor, np.nan) for name, tensor in tensors.items()}, path, metadata)
    found = run("verify", tmp_path / "own", status=1)
    assert {output["difference"] for output in found["outputs"].values()} == {None}
    merged = run("lora", "merge", BERT / "peft_lora", tmp_path / "m", "--base", tmp_path / "own", name="lora-merge")
    assert merged["largest_value"] is None


def test_two_checkpoints(run, tmp_path):
    folder = shutil.copytree(BERT / "transformers_sharded", tmp_path / "both")
    shutil.copy(BERT / "transformers" / "model.safetensors", folder)
    assert run("verify", folder, "--strict-finite")["two_checkpoints"]["text"]


def test_adapters_that_are_converted_and_merged(run, tmp_path):
    words = ("--base", BERT / "transformers")
    found = run("lora", "convert", BERT / "peft_lora", tmp_path / "a.safetensors", *words, name="lora-convert")
    assert found["handle"]
    found = run("lora", "merge", BERT / "peft_lora", tmp_path / "merged", *words, name="lora-merge")
    assert found["layers"]


def test_a_long_run(run, tmp_path):
    (tmp_path / "in.txt").write_text("a dog\na cat\n")
    words = ("embed", tmp_path / "in.txt", "-o", tmp_path / "out.jsonl", "--preset", DEMO)
    assert run(*words)["records"] == 2
