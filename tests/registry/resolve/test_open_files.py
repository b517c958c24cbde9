"""`vertebra.open_files`: the files of a preset for plugins, of one revision, fetched when they are asked for."""

import json

import pytest

import vertebra
from vertebra.errors import ArgumentError, PresetConfigError, PresetNotFoundError


@pytest.fixture
def preset(tmp_path):
    (tmp_path / "assets" / "tokenizer").mkdir(parents=True)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"a": 1}))
    (tmp_path / "assets" / "tokenizer" / "vocabulary.txt").write_text("[UNK]\n")
    return tmp_path


def test_files_are_listed_and_fetched_by_name(preset):
    files = vertebra.open_files(preset)
    assert files.names == {"tokenizer.json", "assets/tokenizer/vocabulary.txt"}
    assert files.fetch("assets/tokenizer/vocabulary.txt").read_text() == "[UNK]\n"
    assert files.json("tokenizer.json").value == {"a": 1}
    files.require_complete()
    with pytest.raises(PresetNotFoundError, match=r"no file 'vocab\.txt'"):
        files.fetch("vocab.txt")


def test_values_that_are_not_clear_are_refused_if_they_matter(preset):
    (preset / "tokenizer.json").write_text('{"a": 1, "a": 2, "b": 3}')
    document = vertebra.open_files(preset).json("tokenizer.json")
    assert document.read(lambda fields: fields["b"], lambda value: value) == 3
    with pytest.raises(PresetConfigError, match="a has two values"):
        document.read(lambda fields: fields["a"], lambda value: value)


def test_arguments_that_name_no_preset_are_refused(tmp_path):
    with pytest.raises(ArgumentError):
        vertebra.open_files(3)
    with pytest.raises(PresetNotFoundError):
        vertebra.open_files(tmp_path / "missing")


def test_subfolders_of_a_folder_without_a_config_or_tokenizer_are_not_listed(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file.txt").write_text("")
    (tmp_path / "vocab.txt").write_text("")
    assert vertebra.open_files(tmp_path).names == {"vocab.txt"}
