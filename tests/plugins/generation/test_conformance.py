"""The rules for tasks, for the causal language model."""

import pytest

import vertebra
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
