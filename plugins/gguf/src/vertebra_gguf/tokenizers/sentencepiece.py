"""SentencePiece's BPE, as its model file: GGUF has the same tokens, scores and types of tokens.

Source of the field numbers: sentencepiece_model.proto of SentencePiece 0.2, a message of protocol buffers.
"""

from __future__ import annotations

import struct
from typing import Any

from vertebra_gguf.models.architecture import Source
from vertebra_gguf.tokenizers.vocabulary import Vocabulary

_SCORES = "tokenizer.ggml.scores"
_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _BYTE_FALLBACK = 3, 35
_ID_FIELDS = {"unk": 40, "bos": 41, "eos": 42, "pad": 43}
_DUMMY_PREFIX, _REMOVE_SPACES, _ESCAPE_SPACES = 3, 4, 5
_BPE = 2
_NO_ID = 2**64 - 1  # -1, as protocol buffers store it


def files(source: Source, vocabulary: Vocabulary) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the files of a tokenizer, and the fields of its config.

    Raises:
        PresetConfigError: the scores are missing or unsound.
    """
    fields = source.container.fields
    scores = fields.numbers(_SCORES)
    if len(scores) != len(vocabulary.tokens):
        raise fields.refusal(_SCORES, f"has {len(scores)} numbers for {len(vocabulary.tokens)} tokens")
    prefix = fields.flag("tokenizer.ggml.add_space_prefix", True)
    gemma = source.name.startswith("gemma")
    config = {
        "tokenizer_class": "GemmaTokenizer" if gemma else "LlamaTokenizer",
        "add_bos_token": fields.flag("tokenizer.ggml.add_bos_token", True),
        "add_eos_token": fields.flag("tokenizer.ggml.add_eos_token", False),
        **({} if gemma else {"add_prefix_space": prefix, "legacy": False}),
    }
    return {"tokenizer.model": _model(vocabulary, scores, prefix and not gemma)}, config


def _model(vocabulary: Vocabulary, scores: list[float], prefix: bool) -> bytes:
    tokens = zip(vocabulary.tokens, scores, vocabulary.types, strict=True)
    pieces = [_message(_PIECE, _piece(*token)) for token in tokens]
    ids = {number: vocabulary.roles.get(role, _NO_ID) for role, number in _ID_FIELDS.items()}
    trainer = {_MODEL_TYPE: _BPE, _BYTE_FALLBACK: 1, **ids}
    normalizer = {_DUMMY_PREFIX: int(prefix), _REMOVE_SPACES: 0, _ESCAPE_SPACES: 1}
    return b"".join([*pieces, _message(_TRAINER, _numbers(trainer)), _message(_NORMALIZER, _numbers(normalizer))])


def _piece(text: str, score: float, kind: int) -> bytes:
    return (
        _message(_TEXT, text.encode()) + _varint(_SCORE << 3 | 5) + struct.pack("<f", score) + _numbers({_TYPE: kind})
    )


def _numbers(values: dict[int, int]) -> bytes:
    return b"".join(_varint(number << 3) + _varint(value) for number, value in values.items())


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
