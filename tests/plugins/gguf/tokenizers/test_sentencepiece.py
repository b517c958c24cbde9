"""SentencePiece's BPE: the tokens are those of the model file that the fields were taken of."""

import json

import pytest

import gguf_bytes
from gguf_bytes import LLAMA, TOKENIZER, gguf, tensor
from vertebra_gguf.preset import read_preset
from vertebra_text import Tokenizer
from vertebra_text.tokenizers.files import sentencepiece

pytest.importorskip("tokenizers")

PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
WORDS = ["▁a", "▁th", "in", "er", "▁the", "▁in", "ing", "▁thing", "▁there"]
LETTERS = list("▁abcdefghijklmnopqrstuvwxyz.,T")
TEXTS = ["the thing in there", "Thing.", " two  spaces", "naïve 東京", ""]


def pieces():
    """Returns the texts, scores and types of a vocabulary."""
    texts = [*PIECES, *WORDS, *LETTERS]
    types = [2, 3, 3, *[6] * 256, *[1] * (len(WORDS) + len(LETTERS))]
    return texts, [-float(number) for number in range(len(texts))], types


def fields(name, **more):
    texts, scores, types = pieces()
    own = {key.replace("llama.", f"{name}."): value for key, value in LLAMA.items()}
    return own | {
        "general.architecture": name,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        **more,
    }


def write(path, name, **more):
    data = gguf(fields(name, **more), [tensor("token_embd.weight", (len(pieces()[0]), 8))], bytes(40_000))
    path.write_bytes(data)
    return Tokenizer.from_preset(path)


def original(folder, name):
    """Returns the tokenizer of the model file itself."""
    folder.mkdir()
    texts, scores, types = pieces()
    found = tuple(sentencepiece.Piece(*piece) for piece in zip(texts, scores, types, strict=True))
    trainer = sentencepiece.Trainer(model_type=2, byte_fallback=True)
    model = sentencepiece.SentencePieceModel(found, trainer, sentencepiece.Normalizer(remove_extra_whitespaces=False))
    (folder / "tokenizer.model").write_bytes(sentencepiece.dump_model(model))
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, **tokens}))
    return Tokenizer.from_preset(folder)


@pytest.mark.parametrize(("name", "kind"), [("llama", "LlamaTokenizer"), ("gemma", "GemmaTokenizer")])
def test_tokens_are_those_of_the_model_file(name, kind, tmp_path):
    tokenizer = write(tmp_path / "model.gguf", name)
    expected = original(tmp_path / "original", kind)
    for text in TEXTS:
        assert tokenizer([text])["token_ids"].tolist() == expected([text])["token_ids"].tolist()
        ids = tokenizer.tokenize(text)
        assert ids == expected.tokenize(text)
        assert tokenizer.detokenize(ids) == expected.detokenize(ids)
    assert tokenizer(["a"])["token_ids"][0, 0] == 1  # a text begins with the token for it


def test_a_space_before_a_text_is_left_out_if_the_file_says_so(tmp_path):
    more = {"tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.add_bos_token": False}
    tokenizer = write(tmp_path / "model.gguf", "llama", **more)
    assert tokenizer(["the"])["token_ids"][0].tolist() == tokenizer.tokenize("the")
    assert tokenizer.id_to_token(tokenizer.tokenize("the")[0]) == "t"


def test_scores_that_are_missing_leave_a_note():
    changed = {"tokenizer__ggml__model": "llama", "tokenizer__ggml__scores": [0.0]}
    header = read_preset("model.gguf", memoryview(gguf_bytes.gpt2(**changed)))
    assert "tokenizer.ggml.scores has 1 numbers for 4 tokens" in header.notes[0]
    assert len(TOKENIZER["tokenizer.ggml.tokens"]) == 4
