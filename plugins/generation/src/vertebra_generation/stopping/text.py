"""`GrowingText`: the text of token ids that arrive one after the other, as far as later tokens cannot change it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from vertebra.errors import ArgumentError

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
"""A token that is one byte of a character. The text of a run of them is known at the end of the run alone: if one byte
is invalid, all of the run becomes replacement characters."""
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""The text of a byte whose character is incomplete, or invalid."""
_LONGEST_WINDOW = 24
_JOINING_TOKENS = 3
"""How many tokens back a token may remove spaces, in tokenizers that do so: in "is n ' t", which becomes "isn't"."""


class Tokenizer(Protocol):
    """The methods of a `vertebra_text.Tokenizer` that streams need."""

    def detokenize(self, token_ids: Any, *, skip_special_tokens: bool = False) -> Any: ...

    def id_to_token(self, id: int) -> str: ...

    def token_to_id(self, token: str) -> int: ...


class GrowingText:
    """The text of one answer.

    After `append`, decode `window` and pass the text to `update`: so the windows of all rows are decoded at once.

    Args:
        tokenizer: The tokenizer.
        skip_special_tokens: Whether special tokens have no text.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool = True) -> None:
        self._tokenizer, self._skip = tokenizer, skip_special_tokens
        self._joins = _removes_spaces(tokenizer)
        self._ids: list[int] = []
        """The ids of the window: those of the last tokens, as the text of a token depends on its neighbours."""
        self._known = 0
        """How many characters of the window's text have been returned."""
        self._boundary = 0
        """How many tokens of the window had a text that cannot change, at the last update but one."""
        self._settled = 0
        self._last = ""
        """The text of the last update."""
        self._in_bytes = False
        """Whether the last token that has a text is a byte."""
        self.pending = ""
        """The text that later tokens may change."""

    @property
    def window(self) -> list[int]:
        """The token ids to decode."""
        return self._ids

    def append(self, token: int) -> None:
        """Adds a token."""
        self._ids.append(token)

    def update(self, text: str) -> str:
        """Takes the text of the window, and returns the further text that later tokens cannot change.

        Args:
            text: The text of the token ids in `window`.
        """
        end = self._stable(text)
        fresh, self.pending = text[self._known : end], text[max(end, self._known) :]
        self._known = max(end, self._known)
        if end == len(text):
            self._boundary, self._settled = self._settled, len(self._ids)
            self._shorten(text)
        return fresh

    def _stable(self, text: str) -> int:
        """Returns how many characters of the window's text cannot change."""
        if self._joins:
            former = self._decoded(self._ids[:-_JOINING_TOKENS])
            return _shared(former, text)
        is_byte = self._is_byte(self._ids[-1])
        if is_byte or text != self._last:  # a special token without a text ends no run of bytes
            self._in_bytes = is_byte
        self._last = text
        return self._known if self._in_bytes or text.endswith(_REPLACEMENT) else len(text)

    def _is_byte(self, token: int) -> bool:
        try:
            return _BYTE.fullmatch(self._tokenizer.id_to_token(token)) is not None
        except ArgumentError:  # the tables of many models have more rows than the tokenizer has tokens
            return False

    def _shorten(self, text: str) -> None:
        """Lets a long window begin later, if the text of the remaining tokens is the end of the window's text."""
        if self._joins or len(self._ids) < _LONGEST_WINDOW or not self._boundary:
            return
        rest = self._decoded(self._ids[self._boundary :])
        if rest.strip() and text.endswith(rest):  # a window without text could lose the space before its first word
            self._ids = self._ids[self._boundary :]
            self._known, self._boundary, self._settled = len(rest), 0, len(self._ids)
            self._last = rest

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.detokenize(list(ids), skip_special_tokens=self._skip)) if ids else ""


def _removes_spaces(tokenizer: Tokenizer) -> bool:
    """Returns whether the tokenizer removes the spaces before punctuation marks, which those of BPE never do."""
    parts: Any = getattr(tokenizer, "parts", None)
    return bool(getattr(parts, "clean_up_spaces", False)) and type(parts.backend.model).__name__ != "BPE"


def _shared(one: str, other: str) -> int:
    """Returns how many characters two texts have in common at their beginnings."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(one), len(other)))
