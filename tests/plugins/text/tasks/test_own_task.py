"""A task in one file, as docs/tutorials/write-a-task.md shows it."""

import re
import sys
import types

import numpy as np
import pytest

import vertebra
import vertebra_text
from pages import page
from vertebra import TaskExport

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


# === Presets of other libraries ===


@pytest.fixture
def formed(spam, monkeypatch):
    """The task with a form of its own in checkpoints of transformers, and with a further file."""
    folders = []

    def exported_to(self, format):
        return TaskExport(lambda folder: (folder / "spam.txt").write_text(format), config={"spam": format})

    def stored_in(cls, preset):
        folders.append((preset.format, preset.files.json("config.json").value["spam"]))
        return vertebra_text.StoredTask(notes=["it is spam"])

    monkeypatch.setattr(spam, "exported_to", exported_to, raising=False)
    monkeypatch.setattr(spam, "stored_in", classmethod(stored_in), raising=False)
    monkeypatch.setattr(spam, "further_files", lambda self: {"further.txt": b"ham"}, raising=False)
    monkeypatch.setattr(spam, "read_files", lambda self, files: folders.append(files.names), raising=False)
    return spam, folders


@pytest.mark.keras(once=True)
@pytest.mark.filterwarnings("ignore:.*they are initialised randomly")
def test_a_task_may_have_a_form_of_its_own_in_presets_of_other_libraries(formed, preset, tmp_path, caplog):
    spam, found = formed
    task = spam.from_preset(preset, load_weights=False)
    assert len(found) == 1  # a native preset has one form
    task.save_to_preset(tmp_path / "saved", format="transformers")
    assert (tmp_path / "saved" / "spam.txt").read_text() == "transformers"
    assert (tmp_path / "saved" / "further.txt").read_text() == "ham"
    spam.from_preset(tmp_path / "saved")
    assert found[1] == ("transformers", "transformers")
    assert {"spam.txt", "further.txt"} <= found[2]
    assert "it is spam" in caplog.text
    task.save_to_preset(tmp_path / "native")
    assert (tmp_path / "native" / "further.txt").read_text() == "ham"
    assert not (tmp_path / "native" / "spam.txt").exists()
