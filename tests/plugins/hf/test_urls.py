"""Texts that are no handles, and the handle that a user may have meant."""

import pytest

from vertebra import PresetHandle
from vertebra._resolve.candidates import candidate_handles, source_of, suggested_handles
from vertebra._resolve.open import open_folder
from vertebra.errors import PresetNotFoundError, UnknownNameError
from vertebra_hf.source import HfSource, repository_of

SITE = "https://huggingface.co"


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("google-bert/bert-base-uncased", "hf://google-bert/bert-base-uncased"),
        ("acme/bert@v1", "hf://acme/bert@v1"),
        ("gpt2", "hf://openai-community/gpt2"),
        ("gpt2-xl", "hf://openai-community/gpt2-xl"),
        ("bert-base-uncased", "hf://google-bert/bert-base-uncased"),
        ("huggingface.co/acme/bert", "hf://acme/bert"),
        ("https://hf.co/acme/bert", "hf://acme/bert"),
        ("git@hf.co:acme/bert.git", "hf://acme/bert"),
        *(
            (f"{SITE}/{page}", handle)
            for page, handle in (
                ("gpt2", "hf://openai-community/gpt2"),
                ("gpt2/blob/main/config.json", "hf://openai-community/gpt2"),
                ("acme/bert", "hf://acme/bert"),
                ("acme/bert/", "hf://acme/bert"),
                ("acme/bert#model-card", "hf://acme/bert"),
                ("acme/bert/discussions/3", "hf://acme/bert"),
                ("acme/bert/tree/main", "hf://acme/bert"),
                ("acme/bert/tree/v1.0", "hf://acme/bert@v1.0"),
                ("acme/bert/tree/main/a/b", "hf://acme/bert/a/b"),
                ("acme/bert/tree/v1/a%20b", "hf://acme/bert/a b@v1"),
                ("acme/bert/tree/refs%2Fpr%2F1", "hf://acme/bert@refs/pr/1"),
                ("acme/bert/blob/v1/config.json", "hf://acme/bert@v1"),
                ("acme/bert/blob/v1/a/config.json", "hf://acme/bert/a@v1"),
                ("acme/bert/resolve/v1/model.safetensors?download=true", "hf://acme/bert@v1"),
                (f"acme/bert/commit/{'a' * 40}", f"hf://acme/bert@{'a' * 40}"),
                ("api/models/acme/bert/revision/v1", "hf://acme/bert@v1"),
            )
        ),
        *(
            (text, None)
            for text in (
                *("bert", "./acme/bert", "/data/acme/bert", "acme/bert/x", "https://example.org/a/b", "acme--x/b"),
                *(f"{SITE}/{page}" for page in ("acme", "models", "datasets/acme/bert", "spaces/acme/bert", "")),
            )
        ),
    ],
)
def test_what_may_have_been_meant(text, handle):
    found = [suggestion for suggestion in suggested_handles(text) if suggestion.startswith("hf:")]
    assert found == ([handle] if handle else [])
    for suggestion in found:
        repository_of(PresetHandle.parse(suggestion))
        source_of(PresetHandle.parse(suggestion), suggestion)


def test_a_page_of_the_users_own_hub_is_known(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.org")
    assert HfSource().suggest("https://hub.example.org/acme/bert/tree/v1") == "hf://acme/bert@v1"


@pytest.mark.parametrize("text", [f"{SITE}/acme/bert", f"{SITE}/acme/bert/", f"{SITE}/acme/bert/blob/main/x?y=1"])
def test_the_error_names_it(text):
    with pytest.raises((UnknownNameError, ValueError), match="Did you mean hf://acme/bert"):
        source_of(candidate_handles(text)[0], text)


def test_a_name_from_before_there_were_organisations_is_named_by_the_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PresetNotFoundError, match="Did you mean 'hf://openai-community/gpt2'"):
        open_folder("gpt2")
