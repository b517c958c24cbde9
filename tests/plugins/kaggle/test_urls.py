"""Texts that are no handles, and the handle that a user may have meant."""

import pytest

from vertebra import PresetHandle
from vertebra._resolve.candidates import suggested_handles
from vertebra._resolve.open import open_folder
from vertebra.errors import PresetNotFoundError
from vertebra_kaggle.api import _framework
from vertebra_kaggle.urls import _FRAMEWORKS
from vertebra_kaggle.variations import variation_of

SITE = "https://www.kaggle.com/models"


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        (f"{SITE}/google/gemma/pyTorch/2b/3", "kaggle://google/gemma/pyTorch/2b/3"),
        (f"{SITE}/google/gemma/PyTorch/2b", "kaggle://google/gemma/pyTorch/2b"),
        (f"{SITE}/google/bert/tensorflow2/en-uncased/2/", "kaggle://google/bert/tensorFlow2/en-uncased/2"),
        (f"{SITE}/keras/bert/Keras/bert_tiny_en/2", "kaggle://keras/bert/keras/bert_tiny_en/2"),
        (f"{SITE}/keras/bert/keras/bert_tiny_en/2?select=config.json", "kaggle://keras/bert/keras/bert_tiny_en/2"),
        ("kaggle.com/models/keras/bert/keras/bert_tiny_en", "kaggle://keras/bert/keras/bert_tiny_en"),
        (f"{SITE}/keras/bert/frameworks/keras/variations/x", "kaggle://keras/bert/keras/x"),
        (f"{SITE}/keras/bert/frameworks/Keras/variations/x/versions/3", "kaggle://keras/bert/keras/x/3"),
        ("https://www.kaggle.com/api/v1/models/keras/bert/keras/x/2/download", "kaggle://keras/bert/keras/x/2"),
        ("keras/bert/keras/x", "kaggle://keras/bert/keras/x"),
        ("keras/bert/Keras/x/2", "kaggle://keras/bert/keras/x/2"),
        *(
            (text, None)
            for text in (
                *("keras/bert", "keras/bert/keras", "keras/bert/keras/x/y", "keras/bert/keras/x/1/2", "a/b/c/d"),
                *("./keras/bert/keras/x", f"{SITE}/keras/bert", f"{SITE}/keras/bert/frameworks/keras"),
                *(f"{SITE}/keras/bert/frameworks/keras/x/y", "https://example.org/models/a/b/keras/x"),
                *("https://www.kaggle.com/datasets/a/b", "https://www.kaggle.com/code/a/b"),
            )
        ),
    ],
)
def test_what_may_have_been_meant(text, handle):
    found = [suggestion for suggestion in suggested_handles(text) if suggestion.startswith("kaggle:")]
    assert found == ([handle] if handle else [])
    for suggestion in found:
        parsed = PresetHandle.parse(suggestion)
        assert _framework(parsed, variation_of(parsed).framework)


def test_the_frameworks_are_those_of_the_client():
    from kagglehub.enum import enum_to_str
    from kagglesdk.models.types.model_enums import ModelFramework

    assert set(_FRAMEWORKS) == {enum_to_str(framework) for framework in ModelFramework if framework.value}


def test_the_error_for_a_path_that_is_a_name_names_the_handle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PresetNotFoundError, match="Did you mean 'kaggle://keras/bert/keras/x'"):
        open_folder("keras/bert/keras/x")
