"""Heads that are matrices of their own, where a backbone has none but its token table.

`token_embedding(x, reverse=True)` computes logits with the token table (Press & Wolf 2017, arXiv:1608.05859). Those of
a model whose head was trained apart are others; the outputs of its backbone are not concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vertebra._weights.safetensors import TensorEntry
from vertebra.specs import TensorRule

if TYPE_CHECKING:
    import numpy as np

TABLE = "token_embedding/embeddings"
_MOST_ROWS = 32
_RELATIVE, _ABSOLUTE = 1e-2, 1e-4
"""How far numbers may be apart that were the same before one was rounded to another dtype, such as bfloat16."""


def possible_heads(
    rules: Mapping[str, TensorRule], outside: Iterable[str], entries: Mapping[str, TensorEntry]
) -> list[str]:
    """Returns the tensors that are not the backbone's and have the shape of its token table.

    Args:
        rules: For each weight, the tensor that holds it.
        outside: Names of tensors that are not the backbone's.
        entries: All tensors by name.
    """
    table = entries.get(rules[TABLE].tensor) if TABLE in rules else None
    return [] if table is None else [name for name in outside if entries[name].shape == table.shape]


def differs_from_table(view: Callable[[str], np.ndarray[Any, Any]], table: str, head: str) -> bool:
    """Says whether a head is another matrix than the token table, by evenly spaced rows of both.

    Args:
        view: From the name of a tensor to an array of shape `(vocabulary, hidden)`.
        table: Name of the token table.
        head: Name of the head.
    """
    import numpy as np

    one, other = view(table), view(head)
    rows = np.linspace(0, len(one) - 1, min(len(one), _MOST_ROWS)).astype(int)
    if one.dtype == other.dtype:
        return bool(one[rows].tobytes() != other[rows].tobytes())
    first, second = (array[rows].astype("float32") for array in (one, other))
    return not np.allclose(first, second, _RELATIVE, _ABSOLUTE, equal_nan=True)


def has_own_output_matrix(rules: Mapping[str, TensorRule]) -> bool:
    """Says whether an architecture has a weight of its own for `reverse=True`, and need not use the table."""
    layer = TABLE.rpartition("/")[0]
    return any(weight.startswith(f"{layer}/") and weight != TABLE for weight in rules)
