"""Byte-level BPE, as a `tokenizer.json`: GGUF has tokens, merges, and a name for the way in which texts are split."""

from __future__ import annotations

from typing import Any

from vertebra_gguf.models.architecture import Source
from vertebra_gguf.tokenizers.vocabulary import CONTROL, UNUSED, USER_DEFINED, Vocabulary

_PRE, _MERGES = "tokenizer.ggml.pre", "tokenizer.ggml.merges"

_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _split(digits: str) -> dict[str, Any]:
    pattern = {"Regex": f"{_ENDINGS}|{_LETTERS}|{digits}|{_OTHERS}"}
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def _bytes(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


_LLAMA3 = _sequence(_split(r"\p{N}{1,3}"), _bytes(use_regex=False))
_QWEN2 = _sequence(_split(r"\p{N}"), _bytes(use_regex=False))
_DIGITS = _sequence({"type": "Digits", "individual_digits": True}, _bytes(use_regex=True))
_PRE_TOKENIZERS = {
    "gpt-2": _bytes(use_regex=True),
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "smaug-bpe": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
}
"""How texts are split, by GGUF's names."""
_WHOLE_TOKENS = ("llama-bpe", "llama3")
"""A piece that is a token is that token, whatever the merges."""
_NORMALIZED = ("qwen2", "deepseek-r1-qwen")
_BEGINS = ("llama-bpe", "llama3")
"""A text begins with the token for it, unless the file says otherwise."""


def files(source: Source, vocabulary: Vocabulary) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the files of a tokenizer, and the fields of its config.

    Raises:
        PresetConfigError: texts are split in a way that is not known.
    """
    pre = _pre(source)
    begin, end = _flags(source, pre, vocabulary)
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(vocabulary),
        "normalizer": {"type": "NFC"} if pre in _NORMALIZED else None,
        "pre_tokenizer": _PRE_TOKENIZERS[pre],
        "post_processor": _template(vocabulary, begin, end),
        "decoder": _bytes(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre in _WHOLE_TOKENS,
            "vocab": _ids(source, vocabulary),
            "merges": _merges(source),
        },
    }
    return {"tokenizer.json": document}, {"tokenizer_class": "PreTrainedTokenizerFast"}


def _pre(source: Source) -> str:
    """Returns GGUF's name of the way in which texts are split."""
    fields = source.container.fields
    pre = fields.text(_PRE, "default")
    if pre == "default" and source.name == "gpt2":  # of files before the field existed
        return "gpt-2"
    if pre not in _PRE_TOKENIZERS:
        raise fields.refusal(_PRE, f"is {pre!r}; {', '.join(_PRE_TOKENIZERS)} are read")
    return pre


def _flags(source: Source, pre: str, vocabulary: Vocabulary) -> tuple[bool, bool]:
    fields = source.container.fields
    begin = fields.flag("tokenizer.ggml.add_bos_token", pre in _BEGINS)
    end = fields.flag("tokenizer.ggml.add_eos_token", False)
    return begin and "bos" in vocabulary.roles, end and "eos" in vocabulary.roles


def _ids(source: Source, vocabulary: Vocabulary) -> dict[str, int]:
    """Returns the ids of tokens, without those that only fill up the token table."""
    ids = {token: index for index, token in enumerate(vocabulary.tokens) if vocabulary.types[index] != UNUSED}
    if len(ids) != sum(kind != UNUSED for kind in vocabulary.types):
        raise source.container.fields.refusal("tokenizer.ggml.tokens", "has a token twice")
    return ids


def _merges(source: Source) -> list[str]:
    """Returns the merges as they are, two tokens with a space between them: a form that `tokenizer.json` may have."""
    fields = source.container.fields
    merges = fields.texts(_MERGES)
    wrong = next((one for one in merges if one.count(" ") != 1 or one.strip(" ") != one), None)
    if wrong is not None:
        raise fields.refusal(_MERGES, f"has {wrong[:100]!r}, expected two tokens with a space between them")
    return merges


def _added(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Returns the tokens that are found in a text as a whole."""
    return [
        {
            "id": index,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == CONTROL,
        }
        for index, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind in (CONTROL, USER_DEFINED)
    ]


def _template(vocabulary: Vocabulary, begin: bool, end: bool) -> dict[str, Any]:
    """Returns the post-processor, which adds the tokens that begin and end a text."""
    roles = [*(["bos"] if begin else []), *(["eos"] if end else [])]
    if not roles:
        return _bytes(use_regex=True) | {"trim_offsets": False}
    tokens = {role: vocabulary.tokens[vocabulary.roles[role]] for role in roles}

    def piece(role: str, segment: int) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": tokens[role], "type_id": segment}}] if role in tokens else []

    def text(name: str, segment: int) -> list[dict[str, Any]]:
        return [*piece("bos", segment), {"Sequence": {"id": name, "type_id": segment}}, *piece("eos", segment)]

    special = {
        token: {"id": token, "ids": [vocabulary.roles[role]], "tokens": [token]} for role, token in tokens.items()
    }
    return {
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": [*text("A", 0), *text("B", 1)],
        "special_tokens": special,
    }
