"""Finds untied heads: output matrices of a model that are not the backbone's token table.

`token_embedding(x, reverse=True)` computes logits with the token table (Press & Wolf 2017, arXiv:1608.05859). A model
with an untied head has other logits; the outputs of its backbone are not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vertebra._weights.tensor_entry import TensorEntry
from vertebra.translations import TensorRule

if TYPE_CHECKING:
    import numpy as np

TABLE = "token_embedding/embeddings"
View = Callable[[str], "np.ndarray[Any, Any]"]
_MOST_ROWS = 32
_RELATIVE, _ABSOLUTE = 1e-2, 1e-4
"""Tolerances for equal numbers of which one was rounded to another dtype, such as bfloat16."""


def untied_heads(
    by_config: str | None,
    rules: Mapping[str, TensorRule],
    outside: Iterable[str],
    entries: Mapping[str, TensorEntry],
    view: View | None = None,
) -> list[str] | None:
    """Returns why a model's logits differ from those of its token table: names of heads, or a field of its config.

    Args:
        by_config: The config field that says that the head is untied, or None.
        rules: The tensor rule of each weight.
        outside: Names of tensors that are not the backbone's.
        entries: All tensors by name.
        view: Returns a tensor's array; None if only the headers were read.

    Returns:
        The reasons, empty if the head is tied; None if a head would have to be compared and `view` is None.
    """
    table = entries.get(rules[TABLE].tensor) if TABLE in rules else None
    if table is None:
        return []
    heads = [name for name in outside if entries[name].shape == table.shape]
    if heads:
        return None if view is None else [head for head in heads if _differ(view(table.name), view(head))]
    return [] if by_config is None or _has_own_output_matrix(rules) else [by_config]


def _differ(table: np.ndarray[Any, Any], head: np.ndarray[Any, Any]) -> bool:
    """Compares two matrices of shape `(vocabulary, hidden)` by evenly spaced rows."""
    import numpy as np

    rows = np.linspace(0, len(table) - 1, min(len(table), _MOST_ROWS)).astype(int)
    if table.dtype == head.dtype:
        return bool(table[rows].tobytes() != head[rows].tobytes())
    one, other = (matrix[rows].astype("float32") for matrix in (table, head))
    return not np.allclose(one, other, _RELATIVE, _ABSOLUTE, equal_nan=True)


def _has_own_output_matrix(rules: Mapping[str, TensorRule]) -> bool:
    """Says whether an architecture has a separate weight for logits: that of `reverse=True`, or that of a head."""
    layer = TABLE.rpartition("/")[0]
    return any(rule.outside or (weight.startswith(f"{layer}/") and weight != TABLE) for weight, rule in rules.items())
