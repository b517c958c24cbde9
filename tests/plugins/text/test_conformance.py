"""The rules for tokenizers, tasks and commands, for those of this plugin."""

import pytest

import vertebra
from vertebra.testing import CommandSuite
from vertebra_text import plugin
from vertebra_text.testing import TaskSuite, TokenizerSuite, small_tokenizer

pytestmark = pytest.mark.keras

TEXTS = ["the good fox.", "bad", "a good dog", "the bad dog is bad."]
PAIRS = [(text, "good fox") for text in TEXTS]
MASKED = ["the [MASK] fox.", "[MASK]", "a [MASK] dog", "the bad [MASK] is bad."]
TASKS = {
    "TextEmbedder": ({}, TEXTS, None),
    "TextClassifier": ({"num_classes": 2}, TEXTS, [0, 1, 0, 1]),
    "Reranker": ({}, PAIRS, [0.0, 1.0, 0.0, 1.0]),
    "TokenClassifier": ({"num_classes": 3}, TEXTS, None),
    "MaskedLM": ({}, MASKED, None),
}
"""Arguments, inputs and labels of each task."""
SIZES = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8, "max_sequence_length": 32}


class TestTokenizer(TokenizerSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = plugin.vertebra_tokenizers()
        return spec

    @pytest.fixture
    def folder(self, tmp_path):
        small_tokenizer(tmp_path)
        return tmp_path


class TestTasks(TaskSuite):
    @pytest.fixture(params=plugin.vertebra_tasks(), ids=lambda spec: spec.name)
    def spec(self, request):
        return request.param

    @pytest.fixture
    def arguments(self, spec):
        return TASKS[spec.name][0]

    @pytest.fixture
    def backbone(self, tokenizer):
        return vertebra.models.BertBackbone(tokenizer.vocabulary_size(), **SIZES)  # which declares heads

    @pytest.fixture
    def texts(self, spec):
        return TASKS[spec.name][1]

    @pytest.fixture
    def labels(self, spec):
        return TASKS[spec.name][2] or pytest.skip("the task has labels of another form")


class TestCommands(CommandSuite):
    @pytest.fixture(params=plugin.vertebra_commands(), ids=lambda spec: spec.name)
    def spec(self, request):
        return request.param
