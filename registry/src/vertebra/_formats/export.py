"""A preset to be written: its class, config and tensors, which may be in a model or in another checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vertebra._weights.tensor_entry import TensorEntry, layout_of
from vertebra._weights.together.parts import Saving, host_array, shared_weight
from vertebra._weights.writing import Tensors
from vertebra.specs import TaskExport

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class PresetExport:
    """The content of a preset to be written, in any format."""

    backbone: str
    """Name of the class."""
    config: dict[str, Any]
    """The constructor's arguments, without the dtype: floats follow the dtype policy of the user who loads them."""
    tensors: Tensors
    """The weights, by name."""
    original: Mapping[str, Any] = field(default_factory=dict)
    """The preset's config in the format to be written, kept from an earlier conversion; empty if there is none."""
    task: TaskExport | None = None
    """What a task adds to the preset, or None for the preset of a backbone alone."""


def export_of(backbone: Any, weights: Mapping[str, Any], saving: Saving | None = None) -> PresetExport:
    """Returns the export of a backbone with these weights, by name; `saving` is that of several processes, or None."""
    layouts = {name: layout_of(name, str(variable.dtype), tuple(variable.shape)) for name, variable in weights.items()}
    reads = {name: _reader(variable, layouts[name], saving) for name, variable in weights.items()}
    tensors = Tensors(layouts, reads)
    return PresetExport(type(backbone).__name__, plain_config(backbone), tensors)


def plain_config(backbone: Any) -> dict[str, Any]:
    """Returns the constructor's arguments, without the dtype."""
    return {name: value for name, value in backbone.get_config().items() if name != "dtype"}


def _reader(variable: Any, entry: TensorEntry, saving: Saving | None) -> Callable[[], np.ndarray[Any, Any]]:
    if saving is None:
        return lambda: host_array(variable.value)
    return shared_weight(saving, entry, lambda: saving.parts_of(variable.value))  # type: ignore[return-value]
