"""`EncodingOptions`: how texts are truncated and padded, and which arrays are returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vertebra.errors import ArgumentError

CALL = "Tokenizer"
"""The name in error messages of the function whose arguments are checked."""
LIMITING = ("longest_first", "only_first", "only_second", "error")
"""Truncations that leave no row longer than its limit."""
TRUNCATIONS = (*LIMITING, "do_not_truncate")
SIDES = ("right", "left")
_MOST = 2**24
"""The largest length that is accepted, so that a mistyped one does not exhaust the memory."""


@dataclass(frozen=True, slots=True)
class EncodingOptions:
    """The checked options of one call of a tokenizer; None means the tokenizer's own default."""

    max_length: int | None = None
    """The most tokens of a row, with special tokens."""
    sequence_length: int | None = None
    """The number of tokens of each row, if rows are padded to a fixed length."""
    pad_to_multiple_of: int | None = None
    truncation: str = "longest_first"
    padding_side: str | None = None
    truncation_side: str | None = None
    add_special_tokens: bool = True
    is_split_into_words: bool = False
    return_offsets_mapping: bool = False
    return_word_ids: bool = False
    return_special_tokens_mask: bool = False
    return_num_truncated_tokens: bool = False

    @property
    def needs_offsets(self) -> bool:
        """Whether the slower encoding with positions in the text is needed."""
        return self.return_offsets_mapping or self.return_word_ids


def checked_options(options: Mapping[str, Any]) -> EncodingOptions:
    """Returns the options of a call.

    Args:
        options: Arguments of `Tokenizer.__call__` without the texts, with the names and values of KerasHub and of
            transformers.

    Raises:
        ArgumentError: an option has another type or value.
    """
    given = dict(options)
    padding, truncation = given.pop("padding"), given.pop("truncation")
    for name in ("max_length", "sequence_length", "pad_to_multiple_of"):
        given[name] = _count(name, given[name])
    for name in ("padding_side", "truncation_side"):
        if given[name] is not None:
            given[name] = _one_of(name, given[name], SIDES)
    for name, value in given.items():
        if name.startswith(("return_", "add_", "is_")) and not isinstance(value, bool):
            raise ArgumentError(CALL, name, value, "True or False")
    truncation = {True: "longest_first", False: "do_not_truncate"}.get(truncation, truncation)
    given["truncation"] = _one_of("truncation", truncation, TRUNCATIONS)
    _set_padding(given, padding)
    return EncodingOptions(**given)


def _set_padding(given: dict[str, Any], padding: object) -> None:
    """Reads transformers' `padding` into the options."""
    if padding == "max_length" and given["sequence_length"] is None:
        if given["max_length"] is None:
            raise ArgumentError(CALL, "padding", padding, "sequence_length=, the number of tokens to pad to")
        given["sequence_length"] = given["max_length"]
    elif padding is False:
        raise ArgumentError(
            CALL, "padding", padding, "'longest' or 'max_length'; lists without padding are returned by tokenize()"
        )
    elif padding is not True:
        _one_of("padding", padding, ("longest", "max_length"))
    length, most = given["sequence_length"], given["max_length"]
    if length is not None and most is not None and most > length:
        raise ArgumentError(CALL, "max_length", most, f"at most sequence_length={length}")


def _count(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(CALL, name, value, "an int above 0, or None")
    count = value.__index__()
    if not 0 < count <= _MOST:
        raise ArgumentError(CALL, name, count, f"an int from 1 to {_MOST}, or None")
    return int(count)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ArgumentError(CALL, name, value, f"one of {', '.join(map(repr, allowed))}")
    return value
