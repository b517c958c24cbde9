"""The vocabulary of a GGUF file: tokens, their types, and the roles of special ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vertebra_gguf.models.architecture import Source

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Types of tokens: those of SentencePiece."""
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding", "mask": "mask"}
"""GGUF's names of roles by transformers'."""
_ENDS = ("tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
"""Tokens that end a turn of a chat, and a message."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of a file."""

    tokens: Sequence[str]
    """The token of each id."""
    types: Sequence[int]
    """The type of each token."""
    roles: dict[str, int]
    """The ids of special tokens, by transformers' names of their roles."""
    ends: Sequence[int]
    """The ids of further tokens that end a text."""

    @property
    def special_tokens(self) -> dict[str, str]:
        """The special tokens, by their fields in `tokenizer_config.json`."""
        return {f"{role}_token": self.tokens[index] for role, index in self.roles.items()}


def read_vocabulary(source: Source) -> Vocabulary:
    """Reads the vocabulary.

    Raises:
        PresetConfigError: it is unsound.
    """
    fields = source.container.fields
    tokens = fields.texts("tokenizer.ggml.tokens")
    types = fields.numbers("tokenizer.ggml.token_type") if "tokenizer.ggml.token_type" in fields else []
    if types and (len(types) != len(tokens) or not all(kind in range(1, 7) for kind in types)):
        raise fields.refusal("tokenizer.ggml.token_type", f"is no list of types of the {len(tokens)} tokens")
    found = {role: f"tokenizer.ggml.{name}_token_id" for role, name in _ROLES.items()}
    roles = {role: _id(source, key, len(tokens)) for role, key in found.items() if key in fields}
    ends = [_id(source, key, len(tokens)) for key in _ENDS if key in fields]
    return Vocabulary(tokens, types or [NORMAL] * len(tokens), roles, ends)


def _id(source: Source, key: str, count: int) -> int:
    index = source.container.fields.count(key)
    if index >= count:
        raise source.container.fields.refusal(key, f"is {index}, and there are {count} tokens")
    return index
