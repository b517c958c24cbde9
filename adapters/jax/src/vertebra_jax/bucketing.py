"""Few shapes for many: pads batches of tokens to larger shapes, so that JAX compiles a few programs only."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from vertebra import Backbone

_MOST_EXACT = 8
"""Shapes that are compiled as they are, before others are padded; a program that has few shapes loses no time."""
_FEWEST_TOKENS = 16
_TOKENS, _MASK = "token_ids", "padding_mask"

Shape = tuple[int, ...]


class Buckets:
    """Chooses the shape for which the function of a model is compiled.

    Only batches of a backbone are padded: padding changes none of its outputs (rule BB-20 of the kit). It may change
    those of other models, such as one that averages over all positions.

    Args:
        model: The model; batches of a backbone with token ids and a padding mask can be padded.
    """

    def __init__(self, model: Any) -> None:
        self._most = getattr(model, "max_sequence_length", None)
        output = model.output if isinstance(model, Backbone) else None
        outputs = output if isinstance(output, dict) else {"": output}
        self._has_length = {name: _has_length(value) for name, value in outputs.items()}
        self._exact: set[Shape] = set()
        self._lock = threading.Lock()

    def larger(self, inputs: Any, *, same_rows: bool) -> Shape | None:
        """Returns the shape to which a batch is to be padded, or None if it is to be computed as it is.

        Args:
            inputs: The batch.
            same_rows: Whether the number of rows is to stay.
        """
        if not _is_text(inputs) or None in self._has_length.values():
            return None
        rows, length = inputs[_TOKENS].shape
        with self._lock:
            if (rows, length) in self._exact or len(self._exact) < _MOST_EXACT:
                self._exact.add((rows, length))
                return None
        longer = _rounded(length, _FEWEST_TOKENS)
        shape = rows if same_rows else _rounded(rows, 1), longer if self._most is None else min(longer, self._most)
        # A row without tokens attends to all positions, so that more of them would change its outputs.
        if shape == (rows, length) or shape[1] < length or not np.asarray(inputs[_MASK]).any(axis=1).all():
            return None
        return shape

    def cut(self, outputs: Any, shape: Shape) -> Any:
        """Returns the outputs of a padded batch without those of the padding."""
        rows, length = shape
        if not isinstance(outputs, dict):
            return outputs[:rows, :length] if self._has_length[""] else outputs[:rows]
        cut = {
            name: value[:rows, :length] if self._has_length[name] else value[:rows] for name, value in outputs.items()
        }
        return type(outputs)(cut)


def padded(inputs: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """Returns a batch with further rows and positions, all of them padding but the first position of a new row."""
    rows, length = inputs[_TOKENS].shape
    widths = ((0, shape[0] - rows), (0, shape[1] - length))
    larger = {name: (np if isinstance(value, np.ndarray) else jnp).pad(value, widths) for name, value in inputs.items()}
    mask = larger[_MASK]
    if shape[0] > rows:  # so that no row is without tokens
        if isinstance(mask, np.ndarray):
            mask[rows:, 0] = 1
        else:
            larger[_MASK] = mask.at[rows:, 0].set(1)
    return larger


def _is_text(inputs: Any) -> bool:
    """Returns whether inputs are values of token ids and a padding mask, and perhaps others of the same shape."""
    if not isinstance(inputs, Mapping) or not {_TOKENS, _MASK} <= inputs.keys():
        return False
    values = list(inputs.values())
    if not all(map(_has_values, values)):
        return False
    shape = inputs[_TOKENS].shape
    return len(shape) == 2 and 0 not in shape and all(value.shape == shape for value in values)


def _has_values(value: Any) -> bool:
    """Returns whether this process has all values of an array."""
    if isinstance(value, jax.core.Tracer):
        return False
    return isinstance(value, np.ndarray) or (isinstance(value, jax.Array) and value.is_fully_addressable)


def _has_length(output: Any) -> bool | None:
    """Returns whether the second axis of an output is that of the tokens, or None if this cannot be told."""
    if not isinstance(output, keras.KerasTensor) or not output.shape or output.shape[0] is not None:
        return None
    others = [axis for axis, size in enumerate(output.shape) if size is None and axis > 0]
    return {(): False, (1,): True}.get(tuple(others))


def _rounded(size: int, fewest: int) -> int:
    """Returns the next larger size of those with three significant bits, which are a quarter apart at most."""
    step = max(fewest, 2 ** (size.bit_length() - 3) if size > 7 else 1)
    return -(-size // step) * step
