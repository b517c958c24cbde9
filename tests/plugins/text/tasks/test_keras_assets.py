"""A `.keras` file of a task holds its preprocessor."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import vertebra
from vertebra_text import TextPreprocessor

from .conftest import BAD, GOOD

pytestmark = pytest.mark.keras
TEXTS = GOOD + BAD
PREFIX = "assets/preprocessor/"
ANSWER = """
import sys
import numpy as np
import vertebra

path, runtime, texts = sys.argv[1], sys.argv[2], sys.argv[3:]
task = vertebra.load_model(path, runtime=runtime)
np.save(path + ".npy", task.embed(texts, prompt_name="query") if hasattr(task, "embed") else task.predict(texts))
"""


def saved(task, path):
    task.compile(None, None, metrics=None)  # Keras warns when it loads an optimizer that has not trained
    task.save(path)
    return path


def changed(path, target, name, data):
    """Copies a `.keras` file with one file replaced or added."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.namelist():
            if entry != name:
                copy.writestr(entry, source.read(entry))
        copy.writestr(name, data)
    return target


@pytest.fixture
def classifier(preset):
    task = vertebra.models.TextClassifier.from_preset(preset, False, num_classes=2)
    task.preprocessor = TextPreprocessor(task.tokenizer, sequence_length=7, truncation="error")
    return task


@pytest.mark.parametrize("name", ["BertTextClassifier", "TextEmbedder"])
def test_another_process_answers_raw_texts(name, preset, runtime, tmp_path):
    options = {"num_classes": 2} if name != "TextEmbedder" else {"prompts": {"query": "the "}, "include_prompt": False}
    task = getattr(vertebra.models, name).from_preset(preset, False, **options)
    path = saved(task, tmp_path / "task.keras")
    subprocess.run([sys.executable, "-c", ANSWER, str(path), runtime, *TEXTS], check=True, timeout=300)
    expected = task.encode_query(TEXTS) if name == "TextEmbedder" else task.predict(TEXTS)
    np.testing.assert_allclose(np.load(f"{path}.npy"), expected, atol=1e-6)


def test_settings_are_kept(classifier, tmp_path):
    loaded = keras.saving.load_model(saved(classifier, tmp_path / "task.keras"))
    assert (loaded.preprocessor.sequence_length, loaded.preprocessor.truncation) == (7, "error")
    assert loaded.preprocessor.input_names == classifier.preprocessor.input_names


def test_a_preset_is_not_needed_to_be_locked(classifier, tmp_path, monkeypatch):
    path = saved(classifier, tmp_path / "task.keras")
    monkeypatch.setenv("VERTEBRA_LOCKED", "1")
    assert keras.saving.load_model(path).predict(TEXTS).shape == (len(TEXTS), 2)


def test_a_task_without_a_preprocessor_has_none_after_loading(classifier, tmp_path):
    classifier.preprocessor = None
    assert keras.saving.load_model(saved(classifier, tmp_path / "task.keras")).preprocessor is None


def test_a_function_is_not_saved_and_told(classifier, tmp_path):
    classifier.preprocessor = lambda texts: texts
    with pytest.warns(UserWarning, match="a function is not saved"):
        saved(classifier, tmp_path / "task.keras")
    assert keras.saving.load_model(tmp_path / "task.keras").preprocessor is None


@pytest.mark.parametrize("settings", [{"truncation": "none"}, {"sequence_length": "7", "truncation": "error"}])
def test_settings_that_cannot_be_are_refused(settings, classifier, tmp_path):
    path = saved(classifier, tmp_path / "task.keras")
    broken = changed(path, tmp_path / "broken.keras", f"{PREFIX}preprocessor.json", json.dumps(settings))
    with pytest.raises(ValueError, match=r"expected an int above 0, and one of longest_first"):
        keras.saving.load_model(broken)


def test_files_with_other_names_are_neither_read_nor_written(classifier, tmp_path):
    path = saved(classifier, tmp_path / "task.keras")
    outside = changed(path, tmp_path / "outside.keras", f"{PREFIX}../../../outside.txt", "text")
    with pytest.warns(UserWarning, match="Skipping"):
        loaded = keras.saving.load_model(outside)
    np.testing.assert_allclose(loaded.predict(TEXTS), classifier.predict(TEXTS), atol=1e-6)
    assert not list(tmp_path.rglob("outside.txt"))
