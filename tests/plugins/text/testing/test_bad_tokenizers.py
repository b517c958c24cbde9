"""The suite for tokenizers notices faults: each of these breaks one rule."""

from dataclasses import fields, replace

import pytest

from vertebra.errors import PresetConfigError
from vertebra_text.testing import TokenizerSuite, small_tokenizer
from vertebra_text.testing.options import OPTIONS
from vertebra_text.tokenizers.pretrained import PretrainedTokenizer

SUITE, TEXTS = TokenizerSuite(), ("a bad cab", "cab", "a")


class Deaf(PretrainedTokenizer):
    """Ignores an option, and the second texts of pairs."""

    ignored = "text_pair"

    def encode_texts(self, texts, options):
        default = {field.name: field.default for field in fields(options)}
        if self.ignored == "text_pair":
            return super().encode_texts(replace(texts, second=None), options)
        options = replace(options, **{self.ignored: default[self.ignored]})
        arrays = super().encode_texts(texts, options)
        names = {"return_offsets_mapping": "offset_mapping", "return_word_ids": "word_ids"}
        return arrays | ({names[self.ignored]: arrays["token_ids"]} if self.ignored in names else {})


class LostOffsets(PretrainedTokenizer):
    def encode_texts(self, texts, options):
        arrays = super().encode_texts(texts, options)
        return arrays | {name: array * 0 for name, array in arrays.items() if name == "offset_mapping"}


class NoLimit(PretrainedTokenizer):
    def save_to_preset(self, preset_dir, *, format=None):
        return PretrainedTokenizer(replace(self.parts, max_length=None)).save_to_preset(preset_dir, format=format)


class Lenient(PretrainedTokenizer):
    def token_to_id(self, token):
        return self.backend.token_to_id(token) or 1


class Raw(PretrainedTokenizer):
    @classmethod
    def read(cls, files):
        words = files.fetch("vocab.txt").read_text(encoding="utf-8").split()
        if "[SEP]" not in words:
            raise KeyError("[SEP]")
        return super().read(files)


@pytest.fixture
def folder(tmp_path):
    small_tokenizer(tmp_path)
    return tmp_path


@pytest.fixture
def made(folder):
    """Returns a function that makes the small tokenizer of a class."""
    return lambda kind: kind(small_tokenizer(folder).parts)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_is_ignored_is_noticed(option, made, monkeypatch):
    monkeypatch.setattr(Deaf, "ignored", option.partition("=")[0])
    SUITE.test_an_option_works_or_is_refused(made(PretrainedTokenizer), TEXTS, option)
    with pytest.raises((AssertionError, KeyError, PresetConfigError, pytest.fail.Exception)):
        SUITE.test_an_option_works_or_is_refused(made(Deaf), TEXTS, option)


def test_offsets_that_lead_nowhere_are_noticed(made):
    with pytest.raises(AssertionError, match="a bad cab"):
        SUITE.test_an_option_works_or_is_refused(made(LostOffsets), TEXTS, "return_offsets_mapping")


def test_a_length_that_is_not_saved_is_noticed(made, tmp_path):
    with pytest.raises(AssertionError):
        SUITE.test_files_keep_it(made(NoLimit), NoLimit, TEXTS, tmp_path)


def test_a_lookup_that_finds_what_is_not_there_is_noticed(made):
    SUITE.test_tokens_and_ids_are_looked_up(made(PretrainedTokenizer), TEXTS)
    with pytest.raises(pytest.fail.Exception):
        SUITE.test_tokens_and_ids_are_looked_up(made(Lenient), TEXTS)


def test_a_raw_error_for_a_damaged_file_is_noticed(folder):
    SUITE.test_damaged_files_are_refused(PretrainedTokenizer, folder, TEXTS)
    with pytest.raises(KeyError):
        SUITE.test_damaged_files_are_refused(Raw, folder, TEXTS)
