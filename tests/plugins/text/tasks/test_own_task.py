"""A task in one file, as docs/tutorials/write-a-task.md shows it."""

import re
import sys
import types

import numpy as np
import pytest

import vertebra
from pages import page

from .conftest import BAD, GOOD

pytestmark = pytest.mark.keras
PAGE = page("tutorials/write-a-task.md")
TASK, PLUGIN = re.findall(r"```python\n(.+?)```", PAGE, flags=re.DOTALL)[:2]


@pytest.fixture
def spam(monkeypatch):
    module, plugin = types.ModuleType("acme_spam"), types.ModuleType("acme_spam_plugin")
    monkeypatch.setitem(sys.modules, "acme_spam", module)
    exec(compile(TASK, "acme_spam.py", "exec"), module.__dict__)
    exec(compile(PLUGIN, "acme_spam_plugin.py", "exec"), plugin.__dict__)
    vertebra.add_plugin(plugin, "spam")
    yield vertebra.models.SpamScorer
    vertebra.remove_plugin("spam")


def test_a_task_in_one_file(spam, preset, tmp_path):
    task = spam.from_preset(preset, load_weights=False)
    task.fit(GOOD + BAD, np.array([[0.0]] * len(GOOD) + [[1.0]] * len(BAD)), verbose=0)
    task.save_to_preset(tmp_path / "spam")
    again = spam.from_preset(tmp_path / "spam")
    np.testing.assert_allclose(again.predict(GOOD), task.predict(GOOD), atol=1e-6)
    assert vertebra.models.BertSpamScorer.from_preset(tmp_path / "spam").backbone is not None
