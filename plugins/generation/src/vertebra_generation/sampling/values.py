"""Checks of the values of single options: each returns the value in one type, or raises an error."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any

from vertebra.errors import ArgumentError

Check = Callable[[str, str, Any], Any]
"""Takes the names of a function and of its argument, and the argument's value."""


def whole(least: int, most: int | None = None, *, optional: bool = False) -> Check:
    """Returns a check for whole numbers."""
    expected = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"

    def check(function: str, name: str, value: Any) -> int | None:
        if value is None and optional:
            return None
        if not _is_whole(value) or value < least or (most is not None and value > most):
            raise ArgumentError(function, name, value, expected)
        return int(value)

    return check


def real(least: float, most: float = math.inf, *, above: bool = False, optional: bool = False) -> Check:
    """Returns a check for finite numbers; with `above`, `least` itself is wrong."""
    lower = f" above {least:g}" if above else f" of at least {least:g}"
    expected = f"a finite number{lower}" if most == math.inf else f"a number from {least:g} to {most:g}"

    def check(function: str, name: str, value: Any) -> float | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ArgumentError(function, name, value, expected)
        number = float(value)
        if not math.isfinite(number) or not least <= number <= most or (above and number == least):
            hint = "; for the most probable token, pass do_sample=False" if name == "temperature" else ""
            raise ArgumentError(function, name, value, expected + hint)
        return number

    return check


def truth(function: str, name: str, value: Any) -> bool:
    """Returns a truth value."""
    if not isinstance(value, bool):
        raise ArgumentError(function, name, value, "True or False")
    return value


def stopping_rule(function: str, name: str, value: Any) -> bool | str:
    """Returns the value of `early_stopping`."""
    if not isinstance(value, bool) and value != "never":
        raise ArgumentError(function, name, value, 'True, False or "never"')
    return "never" if value == "never" else bool(value)


def token_ids(function: str, name: str, value: Any) -> tuple[int, ...]:
    """Returns token ids, each once; takes a single one, too."""
    items = [value] if _is_whole(value) else _items(function, name, value, "token ids")
    for item in items:
        if not _is_whole(item) or item < 0:
            raise ArgumentError(function, name, value, "a token id, or a list of token ids from 0")
    return tuple(dict.fromkeys(int(item) for item in items))


def token_sequences(function: str, name: str, value: Any) -> tuple[tuple[int, ...], ...]:
    """Returns sequences of token ids, each once."""
    expected = "a list of lists of token ids, such as [[17], [4, 5]]"
    sequences = []
    for item in _items(function, name, value, "lists of token ids"):
        if not isinstance(item, Iterable) or isinstance(item, str | bytes):
            raise ArgumentError(function, name, value, expected)
        ids = tuple(item)
        if not ids or not all(_is_whole(id) and id >= 0 for id in ids):
            raise ArgumentError(function, name, value, expected)
        sequences.append(tuple(int(id) for id in ids))
    return tuple(dict.fromkeys(sequences))


def texts(function: str, name: str, value: Any) -> tuple[str, ...]:
    """Returns texts that are not empty, each once; takes a single one, too."""
    items = [value] if isinstance(value, str) else _items(function, name, value, "texts")
    for item in items:
        if not isinstance(item, str) or not item:
            raise ArgumentError(function, name, value, "a text, or a list of texts, none of them empty")
    return tuple(dict.fromkeys(items))


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _items(function: str, name: str, value: Any, kind: str) -> list[Any]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | dict):
        raise ArgumentError(function, name, value, f"a list of {kind}")
    return list(value)


CHECKS: dict[str, Check] = {
    "max_new_tokens": whole(1, optional=True),
    "max_length": whole(1, optional=True),
    "min_new_tokens": whole(0),
    "do_sample": truth,
    "temperature": real(0, above=True),
    "top_k": whole(0),
    "top_p": real(0, 1),
    "min_p": real(0, 1, optional=True),
    "repetition_penalty": real(0.001, 1000),
    "presence_penalty": real(-2, 2),
    "frequency_penalty": real(-2, 2),
    "no_repeat_ngram_size": whole(0),
    "bad_words": token_sequences,
    "stop_tokens": token_ids,
    "stop_strings": texts,
    "num_beams": whole(1),
    "length_penalty": real(-10, 10),
    "early_stopping": stopping_rule,
    "penalty_alpha": real(0, 1, optional=True),
    "n": whole(1),
    "seed": whole(0, 2**64 - 1, optional=True),
}
"""The check of each option."""
