"""Compares the vocabulary of a tokenizer with the embedding table of a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vertebra.errors import ArgumentError, PresetConfigError

if TYPE_CHECKING:
    from vertebra_text.tokenizers.interface import Tokenizer

_MOST_NAMED = 5


def check_vocabulary(tokenizer: Tokenizer, backbone_vocabulary_size: int) -> int:
    """Returns how many rows of an embedding table no token has: many models pad their table.

    Args:
        tokenizer: The tokenizer.
        backbone_vocabulary_size: The number of rows of the table.

    Raises:
        ArgumentError: the size is not an int above 0.
        PresetConfigError: a token has no row. JAX would return NaN for it, and torch would raise an error.
    """
    rows = backbone_vocabulary_size
    if isinstance(rows, bool) or not hasattr(rows, "__index__") or rows.__index__() < 1:
        raise ArgumentError("check_vocabulary", "backbone_vocabulary_size", rows, "an int above 0")
    size = tokenizer.vocabulary_size()
    if size <= rows:
        return rows - size
    names = [_token(tokenizer, index) for index in range(rows, min(size, rows + _MOST_NAMED))]
    more = ", …" if size > rows + _MOST_NAMED else ""
    problem = f"it has {size:,} tokens, and the backbone's table has {rows:,} rows: none for {', '.join(names)}{more}"
    raise PresetConfigError(
        tokenizer, problem, "Use the tokenizer of the backbone's own preset, or a backbone with a larger table"
    )


def _token(tokenizer: Tokenizer, index: int) -> str:
    try:
        return repr(tokenizer.id_to_token(index))
    except ArgumentError:  # a vocabulary may skip ids
        return str(index)
