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


def spm_folder(folder, name, pieces, trainer, normalizer, config):
    """Writes a tokenizer with a SentencePiece model."""
    from vertebra_text.tokenizers.files.sentencepiece import SentencePieceModel, dump_model

    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(dump_model(SentencePieceModel(tuple(pieces), trainer, normalizer)))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name} | config), "utf-8")
    return folder


@pytest.fixture
def models(vocabularies, tmp_path):
    """Folders with tokenizers of SentencePiece that have other ids or another algorithm than XLM-RoBERTa's."""
    from vertebra_text.tokenizers.files.sentencepiece import (
        BPE,
        BYTE,
        CONTROL,
        UNKNOWN,
        USER_DEFINED,
        Normalizer,
        Piece,
        Trainer,
    )

    words = [Piece(text, score) for text, score in vocabularies["unigram"]]
    control = [Piece("<pad>", type=CONTROL), Piece("</s>", type=CONTROL), Piece("<unk>", type=UNKNOWN)]
    t5 = [*control, *words]
    by_length = sorted(
        {piece.text for piece in words} | {character for piece in words for character in piece.text}, key=len
    )
    plain = [Piece(text, -float(number)) for number, text in enumerate(by_length)]
    start = [Piece("<unk>", type=UNKNOWN), Piece("<s>", type=CONTROL), Piece("</s>", type=CONTROL)]
    llama = [*start, *(Piece(f"<0x{byte:02X}>", type=BYTE) for byte in range(256)), *plain]
    identity = Normalizer("identity", add_dummy_prefix=False, remove_extra_whitespaces=False)
    ids = {"unk_id": 2, "eos_id": 1, "bos_id": -1, "pad_id": 0}
    gemma = [Piece({"<s>": "<bos>", "</s>": "<eos>"}.get(p.text, p.text), p.score, p.type) for p in llama]
    gemma[3:3] = [Piece("<pad>", type=CONTROL), Piece("<mask>", type=USER_DEFINED)]
    bpe = {"model_type": BPE, "byte_fallback": True}
    return {
        "T5Tokenizer": spm_folder(tmp_path / "t5", "T5Tokenizer", t5, Trainer(**ids), Normalizer(), {"extra_ids": 3}),
        "GemmaTokenizer": spm_folder(tmp_path / "gemma", "GemmaTokenizer", gemma, Trainer(**bpe), identity, {}),
    }


@pytest.mark.filterwarnings("ignore:KerasHub")
@pytest.mark.parametrize("name", ["T5Tokenizer", "GemmaTokenizer"])
def test_a_sentencepiece_model_is_made_from_a_tokenizer_json(name, models, read, tmp_path):
    tokenizer = read(models[name])
    tokenizer.save_to_preset(tmp_path / "json", format="transformers")
    again = read(tmp_path / "json")
    assert not again.parts.sentencepiece
    again.save_to_preset(tmp_path / "new", format="kerashub")
    assert read(tmp_path / "new").tokenize(TEXTS) == tokenizer.tokenize(TEXTS)


@pytest.mark.filterwarnings("ignore:KerasHub")
def test_merges_that_sentencepiece_cannot_hold_are_refused(models, read, tmp_path):
    tokenizer = read(models["GemmaTokenizer"])
    tokenizer.save_to_preset(tmp_path / "json", format="transformers")
    path = tmp_path / "json" / "tokenizer.json"
    state = json.loads(path.read_text("utf-8"))
    state["model"]["merges"].reverse()
    path.write_text(json.dumps(state), "utf-8")
    with pytest.raises(FormatLimitError, match="its merges are not in the order of its ids"):
        read(tmp_path / "json").save_to_preset(tmp_path / "new", format="kerashub")


@pytest.mark.filterwarnings("ignore:KerasHub finds no special tokens")
def test_sentinels_that_kerashub_lacks_are_said(models, read, tmp_path):
    with pytest.warns(UserWarning, match="has no sentinel tokens") as caught:
        read(models["T5Tokenizer"]).save_to_preset(tmp_path / "new", format="kerashub")
    assert {warning.filename for warning in caught} == {__file__}


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
