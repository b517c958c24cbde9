"""The rules for tasks, with a tiny backbone and tokenizer."""

import pytest
from vertebra import TaskSpec
from vertebra_text.testing import TaskSuite

from example_plugin import vertebra_tasks


class TestExamplePlugin(TaskSuite):
    @pytest.fixture
    def spec(self) -> TaskSpec:
        (spec,) = vertebra_tasks()
        return spec

    @pytest.fixture
    def arguments(self) -> dict[str, int]:
        return {"hidden_dim": 5}

    @pytest.fixture
    def labels(self) -> list[int]:
        return [0, 1, 0, 1]
