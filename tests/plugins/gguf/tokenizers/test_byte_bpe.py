"""Byte-level BPE: the tokens are those of the tokenizer that the fields were taken of."""

import json

import pytest

import gguf_bytes
import vertebra
from vertebra_gguf.preset import read_preset
from vertebra_text import Tokenizer

pytest.importorskip("tokenizers")

TEXTS = ["Hello, it's 12345 WORLDS!", "  two  spaces\n\n and a line", "naïve Café 東京 🙂", "", "I'LL don't"]
SPECIAL = ["<|begin|>", "<|end|>", "<tool>"]
REGEXES = {
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""As in the `tokenizer.json` of Llama 3 and of Qwen 2."""


def trained(pre):
    """Returns a tokenizer of the library, trained on the texts, that splits texts in a way of GGUF."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    if pre == "gpt-2":
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif pre == "smollm":
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    else:
        split = pre_tokenizers.Split(Regex(REGEXES[pre]), "isolated")
        steps = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if pre == "qwen2":
        backend.normalizer = normalizers.NFC()
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    return backend


def fields_of(backend, pre):
    model = json.loads(backend.to_str())["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [*tokens, "[PAD0]"],
        "tokenizer.ggml.token_type": [*(3 if token in SPECIAL else 1 for token in tokens), 5],
        "tokenizer.ggml.merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    }


def opened(path, **fields):
    path.write_bytes(gguf_bytes.gpt2(**fields))
    return Tokenizer.from_preset(path)


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2", "smollm"])
def test_tokens_are_those_of_the_original(pre, tmp_path):
    backend = trained(pre)
    tokenizer = opened(tmp_path / "model.gguf", **fields_of(backend, pre), tokenizer__ggml__add_bos_token=False)
    for text in [*TEXTS, "<|begin|>Hello<tool>"]:
        expected = backend.encode(text).ids
        assert tokenizer.tokenize(text) == expected
        assert tokenizer.detokenize(expected) == backend.decode(expected, skip_special_tokens=False)
    assert tokenizer.vocabulary_size() == backend.get_vocab_size()  # without the token that only fills the table
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|begin|>", "<|end|>")


@pytest.mark.parametrize(
    ("pre", "given", "first", "last"),
    [("llama-bpe", {}, True, False), ("gpt-2", {}, False, False), ("gpt-2", {"bos": True, "eos": True}, True, True)],
)
def test_a_text_begins_and_ends_with_special_tokens(pre, given, first, last, tmp_path):
    backend = trained(pre)
    flags = {f"tokenizer.ggml.add_{role}_token": value for role, value in given.items()}
    tokenizer = opened(tmp_path / "model.gguf", **fields_of(backend, pre), **flags)
    ids = tokenizer(["Hello"])["token_ids"][0].tolist()
    assert ids == [*([0] if first else []), *backend.encode("Hello").ids, *([1] if last else [])]


def header(**fields):
    return read_preset("model.gguf", memoryview(gguf_bytes.gpt2(**fields)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tokenizer__ggml__pre": "odd"}, "tokenizer.ggml.pre is 'odd'; gpt-2, llama-bpe"),
        ({"tokenizer__ggml__merges": ["ab"]}, "tokenizer.ggml.merges has 'ab'"),
        ({"tokenizer__ggml__merges": None}, "tokenizer.ggml.merges is missing"),
        ({"tokenizer__ggml__tokens": ["a", "a", "b", "c"]}, "tokenizer.ggml.tokens has a token twice"),
        ({"tokenizer__ggml__tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokenizer__ggml__token_type": [1, 1]}, "tokenizer.ggml.token_type is no list of types of the 4 tokens"),
        ({"tokenizer__ggml__token_type": [1, 1, 1, 9]}, "tokenizer.ggml.token_type is no list of types"),
        ({"tokenizer__ggml__eos_token_id": 4}, "tokenizer.ggml.eos_token_id is 4, and there are 4 tokens"),
        ({"tokenizer__ggml__model": "bert"}, "tokenizer.ggml.model is 'bert'; gpt2 and llama are read"),
    ],
)
def test_a_tokenizer_that_is_not_read_leaves_a_note(fields, words):
    found = header(**fields)
    assert sorted(found.files) == ["config.json"]
    assert words in found.notes[0]
    assert "add the model's tokenizer.json" in found.notes[0]


def test_a_file_without_a_tokenizer_needs_no_note():
    found = header(tokenizer__ggml__model=None)
    assert (sorted(found.files), found.notes) == (["config.json"], ())


def test_a_tokenizer_next_to_the_file_is_read_if_its_own_is_not(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    backend = trained("gpt-2")
    backend.save(str(folder / "tokenizer.json"))
    (folder / "model.gguf").write_bytes(gguf_bytes.gpt2(tokenizer__ggml__pre="odd"))
    assert Tokenizer.from_preset(folder).tokenize("Hello") == backend.encode("Hello").ids
    (folder / "model.gguf").write_bytes(gguf_bytes.gpt2())  # its own comes first
    assert Tokenizer.from_preset(folder).tokenize("ab") == [2]


def test_templates_and_ends_of_turns_are_in_the_small_files():
    found = header(**{"tokenizer.chat_template": "{{ messages }}"}, tokenizer__ggml__eot_token_id=2)
    assert json.loads(found.files["tokenizer_config.json"])["chat_template"] == "{{ messages }}"
    assert json.loads(found.files["generation_config.json"])["eos_token_id"] == [3, 2]


def test_a_whole_tokenizer_in_the_file_comes_first(tmp_path):
    backend = trained("gpt-2")
    tokenizer = opened(tmp_path / "model.gguf", **{"tokenizer.huggingface.json": backend.to_str()})
    assert tokenizer.tokenize("Hello") == backend.encode("Hello").ids


def test_no_tokenizer_is_an_error_of_the_tokenizer_only(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes.gpt2(tokenizer__ggml__model=None))
    assert "tokenizer.json" not in vertebra.open_files(path).names
