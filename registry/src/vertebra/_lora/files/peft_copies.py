"""Frozen copies of base weights in PEFT's files: they are left out, because they are not trained.

PEFT writes the table of an adapted embedding, and with `save_embedding_layers` all tables and the head.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import keras
import numpy as np

from vertebra._lora.files.peft_tensors import SortedTensors
from vertebra._lora.layers.projections import is_projection
from vertebra._lora.state import adapters_of
from vertebra._lora.trainable import BIAS_NAMES
from vertebra._weights.layer_paths import layer_paths, weight_names
from vertebra._weights.safetensors.format import MappedTensors


def drop_copies(
    model: Any, sorted_: SortedTensors, tensors: MappedTensors, adapted: Collection[str], trained: Collection[str]
) -> None:
    """Removes base weights that equal the model's, rounded to its dtype, and heads that equal a tied table.

    Args:
        model: The model.
        sorted_: The tensors of the file.
        tensors: Their values.
        adapted: Paths of the adapted layers; their copies are always written, so no note tells of them.
        trained: PEFT's `modules_to_save`: these weights train, even if they still have the base's values.
    """
    copies = [weight for weight in sorted_.weights if _is_copy(model, sorted_, weight, trained)]
    told = sorted({sorted_.owners[weight] for weight in copies if _path(weight) not in adapted})
    for weight in copies:
        del sorted_.weights[weight]
    heads = [name for name in sorted_.head if _is_tied_head(model, sorted_, tensors.view(name))]
    for name in heads:
        sorted_.head.remove(name)
        sorted_.unused.remove(name)
    if told or heads:
        sorted_.notes.append(f"copies of the base's weights are left out: {', '.join([*told, *heads])}")


def _is_copy(model: Any, sorted_: SortedTensors, weight: str, trained: Iterable[str]) -> bool:
    """Returns whether a weight is a frozen copy; PEFT matches `modules_to_save` with the end of a module's name."""
    owner = sorted_.owners[weight]
    if weight.rpartition("/")[2] in BIAS_NAMES or any(owner.endswith(name) for name in trained):
        return False
    return _equals(_base_value(model, weight), sorted_.weights[weight])


def _is_tied_head(model: Any, sorted_: SortedTensors, value: Any) -> bool:
    """Returns whether a head's tensor is the table of a tied projection, as trained or as in the base."""
    tables = [f"{path}/embeddings" for path, layer in layer_paths(model).items() if is_projection(layer)]
    values = [sorted_.weights[table] if table in sorted_.weights else _base_value(model, table) for table in tables]
    return any(table.shape == value.shape and _equals(table, value) for table in values)


def _base_value(model: Any, weight: str) -> np.ndarray[Any, Any]:
    adapters = adapters_of(model)
    if adapters is not None:
        return adapters.base_value(weight)
    value: np.ndarray[Any, Any] = keras.ops.convert_to_numpy(weight_names(model)[weight].value)
    return value


def _equals(base: np.ndarray[Any, Any], value: np.ndarray[Any, Any]) -> bool:
    return bool(np.array_equal(base, value.astype(base.dtype)))


def _path(weight: str) -> str:
    return weight.rpartition("/")[0]
