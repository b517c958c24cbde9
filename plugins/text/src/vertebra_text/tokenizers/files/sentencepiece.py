"""`SentencePieceModel`: SentencePiece's model file, a message of protocol buffers.

Source of the field numbers: sentencepiece_model.proto of SentencePiece 0.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from vertebra_text.tokenizers.files import protobuf

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Types of pieces."""
UNIGRAM, BPE = 1, 2
"""Types of models; the format also knows models of words and characters."""
_MOST_PIECES, _MOST_CHARACTERS = 2**21, 512
"""The trainer's default is 16 characters; merges are found by trying each cut of a piece."""


@dataclass(frozen=True, slots=True)
class Piece:
    """An entry of the vocabulary."""

    text: str
    score: float = 0.0
    type: int = NORMAL


@dataclass(frozen=True, slots=True)
class Trainer:
    """The fields of the trainer's specification that matter after the training, with their defaults."""

    model_type: int = UNIGRAM
    byte_fallback: bool = False
    treat_whitespace_as_suffix: bool = False
    unk_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    pad_id: int = -1
    unk_piece: str = "<unk>"
    bos_piece: str = "<s>"
    eos_piece: str = "</s>"
    pad_piece: str = "<pad>"


@dataclass(frozen=True, slots=True)
class Normalizer:
    """How texts are normalised, with SentencePiece's defaults."""

    name: str = ""
    charsmap: bytes = b""
    """Rules of replacement, compiled into a trie; the `tokenizers` library reads the same format."""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """The content of a model file."""

    pieces: tuple[Piece, ...]
    trainer: Trainer = field(default_factory=Trainer)
    normalizer: Normalizer = field(default_factory=Normalizer)


_PIECE = {1: "text", 2: "score", 3: "type"}
_TRAINER = {
    3: "model_type",
    24: "treat_whitespace_as_suffix",
    35: "byte_fallback",
    40: "unk_id",
    41: "bos_id",
    42: "eos_id",
    43: "pad_id",
    45: "unk_piece",
    46: "bos_piece",
    47: "eos_piece",
    48: "pad_piece",
}
_NORMALIZER = {
    1: "name",
    2: "charsmap",
    3: "add_dummy_prefix",
    4: "remove_extra_whitespaces",
    5: "escape_whitespaces",
}
_PIECES_FIELD, _TRAINER_FIELD, _NORMALIZER_FIELD, _VOCAB_SIZE = 1, 2, 3, 4


def parse_model(data: bytes) -> SentencePieceModel:
    """Reads a model file; unknown fields are skipped.

    Raises:
        ValueError: the bytes are no model, or it has no pieces.
    """
    pieces: list[Piece] = []
    trainer, normalizer = Trainer(), Normalizer()
    for number, value in protobuf.read_fields(data):
        if not isinstance(value, bytes):
            continue
        if number == _PIECES_FIELD:
            pieces.append(_message(Piece, _PIECE, value, text=""))
            if len(pieces[-1].text) > _MOST_CHARACTERS:
                raise ValueError(f"piece {len(pieces) - 1} has {len(pieces[-1].text)} characters")
        elif number == _TRAINER_FIELD:
            trainer = _message(Trainer, _TRAINER, value)
        elif number == _NORMALIZER_FIELD:
            normalizer = _message(Normalizer, _NORMALIZER, value)
    if not 0 < len(pieces) <= _MOST_PIECES:
        raise ValueError(f"it has {len(pieces)} pieces, expected 1 to {_MOST_PIECES}")
    return SentencePieceModel(tuple(pieces), trainer, normalizer)


def dump_model(model: SentencePieceModel) -> bytes:
    """Returns the bytes of a model file."""
    parts = [protobuf.field(_PIECES_FIELD, _dump(piece, _PIECE)) for piece in model.pieces]
    size = protobuf.field(_VOCAB_SIZE, len(model.pieces))
    parts.append(protobuf.field(_TRAINER_FIELD, _dump(model.trainer, _TRAINER) + size))
    parts.append(protobuf.field(_NORMALIZER_FIELD, _dump(model.normalizer, _NORMALIZER)))
    return b"".join(parts)


_READERS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "str": (bytes, lambda value: value.decode("utf-8")),
    "bytes": (bytes, bytes),
    "float": (bytes, protobuf.float_of),
    "int": (int, protobuf.signed),
    "bool": (int, bool),
}
"""How a field of each Python type is stored, and read."""


def _message(kind: type, names: dict[int, str], data: bytes, **defaults: Any) -> Any:
    types = {entry.name: str(entry.type) for entry in fields(kind)}
    for number, value in protobuf.read_fields(data):
        if number in names:
            name = names[number]
            stored, read = _READERS[types[name]]
            if not isinstance(value, stored):
                raise ValueError(f"field {name} has another type")
            defaults[name] = read(value)
    return kind(**defaults)


def _dump(message: Any, names: dict[int, str]) -> bytes:
    return b"".join(protobuf.field(number, getattr(message, name)) for number, name in names.items())
