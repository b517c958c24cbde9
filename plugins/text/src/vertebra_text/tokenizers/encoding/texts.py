"""Checks of the texts that a caller gives, and their arrangement as two lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vertebra.errors import ArgumentError
from vertebra_text.errors import TextError
from vertebra_text.tokenizers.encoding.options import CALL

_SHOWN = 60
"""Most characters of a text in a message."""
_PAIRED = "of texts and the argument `text_pair`, or one list of pairs"
_ONE = "a text, a list of texts, or a list of pairs of texts"


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one call."""

    first: list[Any]
    """The texts; with `is_split_into_words`, lists of words."""
    second: list[Any] | None
    """The second text of each pair, or None if the texts are no pairs."""
    is_single: bool
    """Whether the caller gave one text and not a list."""


def arranged(texts: Any, text_pair: Any, split_into_words: bool = False) -> Texts:
    """Returns the texts of a call as two lists.

    Args:
        texts: A text, a list of texts, a list of pairs, or a tuple of two lists, as KerasHub's segments.
        text_pair: The second text of each pair: a text for a text, a list for a list.
        split_into_words: Whether each text is a list of words.

    Raises:
        ArgumentError: a text is not a string, or cannot be encoded; the lists are empty or have different lengths.
    """
    texts, text_pair = _plain(texts), _plain(text_pair)
    is_text = _is_words if split_into_words else _is_text
    if is_text(texts):
        second = None if text_pair is None else [text_pair]
        return _checked(Texts([texts], second, True), split_into_words)
    if not isinstance(texts, list | tuple):
        raise _not_text("texts", texts)
    if not texts:
        raise ArgumentError(CALL, "texts", texts, "at least one text")
    if text_pair is not None:
        if not isinstance(text_pair, list | tuple):
            raise ArgumentError(CALL, "text_pair", _shown(text_pair), "a list, since texts is a list")
        return _checked(Texts(list(texts), list(text_pair), False), split_into_words)
    if split_into_words:
        return _checked(Texts(list(texts), None, False), split_into_words)
    return _checked(_without_pair_argument(texts), split_into_words)


def _without_pair_argument(texts: Sequence[Any]) -> Texts:
    """Returns texts that may be pairs: a list of pairs, or a tuple of two lists."""
    if isinstance(texts, tuple) and len(texts) == 2:
        if all(map(_is_text, texts)):
            raise ArgumentError(
                CALL, "texts", _shown(texts), f"two lists {_PAIRED}: a tuple of two texts may mean both"
            )
        segments = [_plain(segment) for segment in texts]
        if all(isinstance(segment, list) for segment in segments):
            return Texts(segments[0], segments[1], False)
    pairs = [isinstance(text, list | tuple) and len(text) == 2 for text in texts]
    if all(pairs):
        return Texts([text[0] for text in texts], [text[1] for text in texts], False)
    if any(pairs) and not all(pairs):
        index = pairs.index(not pairs[0])
        raise ArgumentError(CALL, f"texts[{index}]", _shown(texts[index]), "only texts, or only pairs, in one list")
    return Texts(list(texts), None, False)


def _plain(value: Any) -> Any:
    """Returns an array or a column of a table as a list, and other values as they are."""
    if isinstance(value, str | bytes | list | tuple | dict) or value is None:
        return value
    for method in ("tolist", "to_list", "to_pylist"):  # numpy and pandas, polars, pyarrow
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    return list(value) if isinstance(value, Sequence) else value  # such as a column of a data set


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_text, value))


def _checked(texts: Texts, split_into_words: bool) -> Texts:
    """Returns texts, if each is a string, or a list of words."""
    for name, items in (("texts", texts.first), ("text_pair", texts.second)):
        if items is None:
            continue
        if not items:
            raise ArgumentError(CALL, name, items, "at least one text")
        if len(items) != len(texts.first):
            raise ArgumentError(
                CALL, name, f"{len(items)} texts", f"{len(texts.first)}, one for each of the first texts"
            )
        _check_items(name, items, split_into_words)
    return texts


def _check_items(name: str, items: list[Any], split_into_words: bool) -> None:
    if not split_into_words:
        if all(map(_is_text, items)):
            return
        index = next(index for index, item in enumerate(items) if not _is_text(item))
        raise _not_text(f"{name}[{index}]", items[index])
    for index, item in enumerate(items):
        if not isinstance(item, list | tuple) or not all(map(_is_text, item)):
            raise TextError(CALL, f"{name}[{index}]", _shown(item), "a list of words, because is_split_into_words")


def _not_text(name: str, value: object) -> TextError:
    expected = _ONE if name == "texts" else "a text"
    if isinstance(value, bytes | bytearray):
        expected += "; decode bytes first, with value.decode('utf-8')"
    elif value is None:
        expected += "; leave out missing values, or replace them by ''"
    elif isinstance(value, float) and value != value:
        expected += "; NaN is a missing value of a table: leave it out, or replace it by ''"
    return TextError(CALL, name, _shown(value), expected)


def unencodable(texts: Texts) -> TextError | None:
    """Returns the error for the first text with a lone surrogate, which UTF-8 cannot represent, or None."""
    for name, items in (("texts", texts.first), ("text_pair", texts.second or [])):
        for index, item in enumerate(items):
            for text in [item] if isinstance(item, str) else item:
                try:
                    text.encode()
                except UnicodeEncodeError as error:
                    expected = f"text without the lone surrogate at {error.start}, half of a character of UTF-16"
                    argument = name if texts.is_single else f"{name}[{index}]"
                    return TextError(CALL, argument, _shown(text), expected)
    return None


def _shown(value: object) -> object:
    """Returns a value shortened for a message."""
    if isinstance(value, str | bytes):
        return value if len(value) <= _SHOWN else value[:_SHOWN]
    text = repr(value)
    return value if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
