"""A preset that is to be written: a class, a config and tensors, wherever these are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vertebra._weights.tensor_entry import layout_of
from vertebra._weights.writing import Tensors

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class PresetExport:
    """What a preset will hold, whatever its format."""

    backbone: str
    """Name of the class."""
    config: dict[str, Any]
    """The constructor's arguments, without the dtype: floats follow the dtype policy of whoever loads them."""
    tensors: Tensors
    """The weights, by name."""
    original: Mapping[str, Any] = field(default_factory=dict)
    """The config that the preset had when it was last in the format that is written; empty if it never was."""


def export_of(backbone: Any, weights: Mapping[str, Any]) -> PresetExport:
    """Describes a backbone and its weights, by name, as a preset."""
    layouts = {name: layout_of(name, str(variable.dtype), tuple(variable.shape)) for name, variable in weights.items()}
    tensors = Tensors(layouts, {name: _reader(variable) for name, variable in weights.items()})
    return PresetExport(type(backbone).__name__, plain_config(backbone), tensors)


def plain_config(backbone: Any) -> dict[str, Any]:
    """Returns the constructor's arguments, without the dtype."""
    return {name: value for name, value in backbone.get_config().items() if name != "dtype"}


def _reader(variable: Any) -> Callable[[], np.ndarray[Any, Any]]:
    import keras

    return lambda: keras.ops.convert_to_numpy(variable.value)
