"""`vertebra inspect` and `vertebra plan` of presets with a task and a tokenizer."""

import json
import math
import subprocess
import sys

import pytest

import vertebra
from vertebra import TaskSpec, hookimpl
from vertebra._presets.inspect import inspect_preset
from vertebra._presets.plan import plan_preset
from vertebra.cli import main

from .conftest import OPTIONS, VOCABULARY

pytestmark = pytest.mark.keras(once=True)
each_task = pytest.mark.parametrize("name", OPTIONS)
each_format = pytest.mark.parametrize("format", ["native", "transformers"])


def parameters(task):
    return sum(math.prod(weight.shape) for weight in task.head_weights().values())


@each_task
@each_format
def test_names_the_task_its_settings_and_the_size_of_its_head(name, format, saved):
    task, folder = saved(name, format)
    (facts,) = inspect_preset(str(folder))["tasks"]
    assert facts["task"] == name
    assert facts["parameters"] == parameters(task)
    for setting in ("labels", "prompts"):
        if setting in OPTIONS[name]:
            assert facts["settings"][setting] == OPTIONS[name][setting]
    assert facts["owner"] == "vertebra-text"


@each_task
def test_a_plan_counts_the_head_and_trains_it_with_an_adapter(name, saved):
    task, folder = saved(name, "transformers")
    head = parameters(task)
    plan = plan_preset(str(folder), lora_rank=2)
    alone = plan_preset(str(folder.parent / "backbone"), lora_rank=2)
    assert (plan.task, plan.head_parameters, plan.head) == (name, head, 4 * head)
    assert plan.train_lora - alone.train_lora == 3 * 4 * head
    assert (alone.task, alone.head_parameters) == (None, 0)
    assert plan.lora_parameters == alone.lora_parameters


def test_describes_the_tokenizer_and_compares_it_with_the_table(preset):
    facts = inspect_preset(str(preset))
    tokenizer = facts["tokenizer"]
    assert facts["tasks"] == []
    assert tokenizer["vocabulary_size"] == tokenizer["table_rows"] == len(VOCABULARY)
    assert tokenizer["fits_table"] is True
    assert tokenizer["special_tokens"]["mask_token"] == "[MASK]"
    (preset / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"]))
    assert inspect_preset(str(preset))["tokenizer"]["fits_table"] is False
    (preset / "vocab.txt").unlink()
    assert inspect_preset(str(preset))["tokenizer"] is None
    (preset / "tokenizer.json").write_text("{}")
    assert "tokenizer.json" in inspect_preset(str(preset))["tokenizer"]["problem"]


def test_prints_them_without_control_characters(saved, capsys):
    _, folder = saved("TextClassifier", labels=["bad\x1b[2J", "good"])
    assert main(["inspect", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "task TextClassifier" in shown
    assert r"labels: bad\x1b[2J, good" in shown
    assert "tokens, which fit the" in shown
    assert main(["plan", str(folder), "--lora-rank", "4"]) == 0
    assert "34 of the head" in capsys.readouterr().out


def test_a_transformers_checkpoint_without_its_head_holds_no_task(saved):
    _, folder = saved("TextClassifier", "transformers")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertForTokenClassification"]}))
    assert [task["task"] for task in inspect_preset(str(folder))["tasks"]] == ["TokenClassifier"]
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    assert inspect_preset(str(folder))["tasks"] == []


def fail(name, preset):
    raise TypeError("a fault of the plugin")


def test_a_task_whose_plugin_fails_is_left_out(saved, caplog):
    class Plugin:
        @hookimpl
        def vertebra_tasks(self):
            return [TaskSpec("Failing", "missing:Failing", "", f"{__name__}:fail")]

    _, folder = saved("TextEmbedder")
    caplog.set_level("INFO", "vertebra")
    vertebra.add_plugin(Plugin(), "failing")
    try:
        assert [task["task"] for task in inspect_preset(str(folder))["tasks"]] == ["TextEmbedder"]
        assert plan_preset(str(folder)).task == "TextEmbedder"
    finally:
        vertebra.remove_plugin("failing")
    assert "its task Failing was not described: TypeError: a fault of the plugin" in caplog.text


def test_imports_no_framework(saved):
    _, folder = saved("TextEmbedder", "transformers")
    code = (
        "import sys; from vertebra.cli import main; main(['inspect', sys.argv[1], '--json']);"
        "print({'keras', 'torch', 'jax', 'tensorflow'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"
    assert json.loads(done.stdout)["tasks"][0]["task"] == "TextEmbedder"
