"""Tables of another size than the model's, such as those of a resized vocabulary."""

from __future__ import annotations

from typing import Any

import keras

from vertebra._lora.files.foreign_names import arguments_of
from vertebra._lora.layers.projections import is_projection
from vertebra._weights.layer_paths import layer_paths

_VOCABULARY = "vocabulary_size"


def size_remedy(model: Any, weight: str, expected: tuple[int, ...], actual: tuple[int, ...]) -> str:
    """Returns what to do about a table with another number of rows; an empty string for other differences.

    Args:
        model: The model.
        weight: Name of the table in the model.
        expected: The shape of the model's table.
        actual: The shape of the adapter's table.
    """
    argument = _argument(model, weight, expected[0]) if expected else None
    if argument is None or len(actual) != len(expected) or actual[1:] != expected[1:]:
        return ""
    size = f"{argument}={actual[0]}"
    resized = " (transformers: resize_token_embeddings, then save_pretrained)" if argument == _VOCABULARY else ""
    return (
        f"Load it onto a base of that size: from_preset(..., {size}) of a checkpoint whose table has {actual[0]} rows, "
        f"which is the one that the adapter was trained on, or one that was resized{resized}"
    )


def _argument(model: Any, weight: str, rows: int) -> str | None:
    """Returns the constructor's argument that is the number of rows of a table, or None if it cannot be told."""
    layer = layer_paths(model).get(weight.rpartition("/")[0])
    if not weight.endswith("/embeddings") or not hasattr(model, "constructor_config"):
        return None
    arguments = [name for name, value in arguments_of(model).items() if type(value) is int and value == rows]
    if _VOCABULARY in arguments and isinstance(layer, keras.layers.Embedding) and is_projection(layer):
        return _VOCABULARY
    return arguments[0] if len(arguments) == 1 else None
