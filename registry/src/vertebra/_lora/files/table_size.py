"""Tables of another size than the model's, such as those of a resized vocabulary."""

from __future__ import annotations

from typing import Any

from vertebra._lora.files.foreign_names import arguments_of
from vertebra._weights.abstract import abstract_build
from vertebra._weights.layer_paths import weight_names


def size_remedy(model: Any, weight: str, expected: tuple[int, ...], actual: tuple[int, ...]) -> str:
    """Returns what to do about a table with another number of rows; an empty string for other differences.

    Args:
        model: The model.
        weight: Name of the table in the model.
        expected: The shape of the model's table.
        actual: The shape of the adapter's table.
    """
    is_table = weight.endswith("/embeddings") and actual[1:] == expected[1:] and len(actual) == len(expected)
    if not is_table or not hasattr(model, "constructor_config"):
        return ""
    argument = next((name for name in _candidates(model, expected[0]) if _gives(model, name, weight, actual)), None)
    if argument is None:
        return ""
    return (
        f"Load it onto a base of that size: from_preset(..., {argument}={actual[0]}) of a checkpoint whose table has "
        f"{actual[0]} rows, which is the one that the adapter was trained on, or one that was resized and saved, as by "
        "transformers' resize_token_embeddings and save_pretrained"
    )


def _candidates(model: Any, rows: int) -> list[str]:
    """Returns the arguments of the model that may be the number of rows."""
    return [name for name, value in arguments_of(model).items() if type(value) is int and value == rows]


def _gives(model: Any, argument: str, weight: str, shape: tuple[int, ...]) -> bool:
    """Returns whether a weight has a shape in a model with another value of an argument."""
    try:
        with abstract_build():
            other = type(model).from_config(arguments_of(model) | {argument: shape[0]})
        return tuple(weight_names(other)[weight].shape) == shape
    except Exception:  # a constructor may refuse the value
        return False
