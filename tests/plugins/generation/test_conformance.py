"""The rules for tasks and commands, for the causal language model and its commands."""

import io
import sys

import pytest

import vertebra
from vertebra.testing import CommandSuite
from vertebra_generation import plugin
from vertebra_text.testing import TaskSuite

pytestmark = pytest.mark.keras

SIZES = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8, "max_sequence_length": 32}


class TestCausalLM(TaskSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = plugin.vertebra_tasks()
        return spec

    @pytest.fixture(params=[False, True], ids=["tied", "own_head"])
    def arguments(self, request):
        return {"own_head": request.param}

    @pytest.fixture
    def backbone(self, tokenizer):
        return vertebra.models.GPT2Backbone(tokenizer.vocabulary_size(), **SIZES)

    @pytest.fixture
    def labels(self):
        return [" good", " dog", " fox.", ""]


class TestCommands(CommandSuite):
    @pytest.fixture(params=plugin.vertebra_commands(), ids=lambda spec: spec.name)
    def spec(self, request):
        return request.param

    @pytest.fixture
    def json_arguments(self, spec, make, tmp_path, monkeypatch):
        lm = make()
        lm.chat_templates = "{{ messages[-1].content }}"
        lm.save_to_preset(tmp_path / "preset", certificate=False)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the fox")))
        return [str(tmp_path / "preset"), "--max-new-tokens", "2"]
