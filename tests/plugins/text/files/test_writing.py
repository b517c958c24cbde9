"""Tokenizers are written in each format and read again; what a format cannot hold is refused."""

import json

import numpy as np
import pytest

from awkward_texts import awkward_texts
from vertebra.errors import ArgumentError, FormatLimitError, PresetFormatError, PresetSaveError

TEXTS = [text for text in awkward_texts(1200) if "<" not in text and "[" not in text]
"""Texts without special tokens: KerasHub finds some of them only."""
formats = pytest.mark.parametrize("format", ["transformers", "kerashub", "native"])


def arrays(tokenizer):
    return tokenizer(TEXTS, TEXTS[::-1], max_length=50)


def same(one, other):
    first, second = arrays(one), arrays(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@formats
@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.filterwarnings("ignore:KerasHub finds no special tokens")
def test_a_written_tokenizer_gives_the_same_arrays(kind, format, make, read, tmp_path):
    tokenizer = read(make(kind))
    names = tokenizer.save_to_preset(tmp_path / "new", format=format)
    found = (path for path in (tmp_path / "new").rglob("*") if path.is_file())
    assert sorted(path.relative_to(tmp_path / "new").as_posix() for path in found) == names
    again = read(tmp_path / "new")
    assert same(tokenizer, again)
    assert again.special_token_ids == tokenizer.special_token_ids
    again.save_to_preset(tmp_path / "back", format="transformers")
    assert same(tokenizer, read(tmp_path / "back"))


@pytest.mark.parametrize("name", ["BertTokenizer", "DistilBertTokenizer", "RobertaTokenizer", "XLMRobertaTokenizer"])
def test_a_tokenizer_of_kerashub_keeps_its_meaning_in_transformers(name, make_kerashub, read, tmp_path):
    tokenizer = read(make_kerashub(name))
    tokenizer.save_to_preset(tmp_path / "new", format="transformers")
    again = read(tmp_path / "new")
    assert same(tokenizer, again)
    assert again.tokenize("<mask> [MASK]") == tokenizer.tokenize("<mask> [MASK]")
    again.save_to_preset(tmp_path / "back", format="kerashub")
    assert same(tokenizer, read(tmp_path / "back"))


def test_fields_of_the_config_that_are_not_read_are_carried(make, read, tmp_path):
    config = {"chat_template": "{{ x }}", "do_lower_case": False, "auto_map": {"AutoTokenizer": ["a.B", None]}}
    read(make("bert", config)).save_to_preset(tmp_path / "new")
    written = json.loads((tmp_path / "new" / "tokenizer_config.json").read_text("utf-8"))
    assert written["chat_template"] == "{{ x }}"
    assert written["do_lower_case"] is False
    assert "auto_map" not in written


def test_other_files_of_the_folder_are_kept(make, read, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "model.safetensors").write_bytes(b"weights")
    read(make("bert")).save_to_preset(tmp_path / "new")
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == b"weights"
    assert not list((tmp_path / "new").glob("*.tmp"))


def test_files_of_both_formats_in_one_folder_are_told_apart(make, read, tmp_path):
    tokenizer = read(make("bert", {"do_lower_case": False}))
    tokenizer.save_to_preset(tmp_path / "new", format="kerashub")
    tokenizer.save_to_preset(tmp_path / "new", format="transformers")
    assert read(tmp_path / "new").parts.format == "transformers"


def test_a_change_of_meaning_in_kerashub_is_said(make, read, tmp_path):
    with pytest.warns(UserWarning, match="KerasHub finds no special tokens in texts"):
        read(make("xlm-roberta")).save_to_preset(tmp_path / "new", format="kerashub")


# === What is refused ===


LIMITS = [
    ("bert", {"cls_token": "[MASK]"}, "cls_token='\\[MASK\\]': KerasHub's BertTokenizer always has '\\[CLS\\]'"),
    ("bert", {"tokenizer_class": "MPNetTokenizer", "unk_token": "[UNK]"}, "KerasHub has no class"),
    ("roberta", {"tokenizer_class": "RobertaTokenizer", "extra_special_tokens": ["<new>"]}, "added_tokens='<new>'"),
]


@pytest.mark.parametrize(("kind", "config", "message"), LIMITS, ids=str)
def test_a_tokenizer_that_kerashub_cannot_hold_is_refused(kind, config, message, make, read, tmp_path):
    tokenizer = read(make(kind, config))
    with pytest.raises(FormatLimitError, match=message):
        tokenizer.save_to_preset(tmp_path / "new", format="kerashub")
    assert not (tmp_path / "new").exists()


def test_another_normalizer_than_kerashub_s_is_refused(make, read, tmp_path):
    from tokenizers import normalizers

    folder = make("bert", {"tokenizer_class": "BertTokenizer"})
    tokenizer = read(folder)
    tokenizer.backend.normalizer = normalizers.NFC()
    (folder / "tokenizer.json").write_text(tokenizer.backend.to_str(), "utf-8")
    with pytest.raises(FormatLimitError, match="normalizer='NFC'"):
        read(folder).save_to_preset(tmp_path / "new", format="kerashub")


@pytest.mark.parametrize(
    ("target", "format", "error"),
    [
        ("", None, ArgumentError),
        (3, None, ArgumentError),
        ("hf://a/b", None, PresetSaveError),
        ("new", "gguf", PresetFormatError),
        ("new", 3, PresetFormatError),
    ],
)
def test_invalid_targets_are_refused(target, format, error, bert):
    with pytest.raises(error):
        bert.save_to_preset(target, format=format)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_preset(bert, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PresetSaveError, match="its files cannot be written"):
        bert.save_to_preset(tmp_path / "file")
