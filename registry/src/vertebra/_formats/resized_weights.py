"""Weights whose shape an override changes, such as the positions of another image size, resized by their class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vertebra._formats.description import OpenPreset
from vertebra._weights.match import Match
from vertebra._weights.tensor_layout import take
from vertebra.errors import PluginError, VertebraError, WeightsMismatchError, exception_text

if TYPE_CHECKING:
    import numpy as np

Shape = tuple[int, ...]


def match_resized(
    backbone_class: Any, preset: OpenPreset, weights: Mapping[str, Any], before: Mapping[str, Shape], names: list[str]
) -> Match | None:
    """Matches a checkpoint whose tensors fit a model without overrides, and resizes the named weights.

    Args:
        backbone_class: The class.
        preset: The preset, with its weights mapped.
        weights: The variables of the model with overrides, by name.
        before: The shape of each weight of the model without overrides.
        names: The weights whose tensors have another shape.

    Returns:
        The match, or None if an override is not the reason, or the class does not resize one of the weights.

    Raises:
        PluginError: the class failed, or returned another shape.
    """
    shapes = {name: before[name] for name in names if name in before}
    if len(shapes) < len(names) or any(shapes[name] == tuple(weights[name].shape) for name in names):
        return None
    try:
        match = preset.match(weights, shapes)
    except WeightsMismatchError:  # it does not fit without overrides either
        return None
    values, notes = {}, []
    for name, shape in shapes.items():
        rule, wanted = match.sources[name], tuple(weights[name].shape)
        stored = take(rule, preset.mapped().view(rule.tensor), shape)
        value = _resized(backbone_class, name, stored, wanted)
        if value is None:
            return None
        values[name] = value
        notes.append(f"{name} was resized from {shape} to {wanted}, as the arguments say")
    return replace(match, resized=values, notes=(*match.notes, *notes))


def _resized(backbone_class: Any, name: str, stored: np.ndarray[Any, Any], shape: Shape) -> np.ndarray[Any, Any] | None:
    import numpy as np

    wide = stored.dtype if str(stored.dtype) == "float64" or "float" not in str(stored.dtype) else np.dtype("float32")
    try:
        value = backbone_class.resize_weight(name, np.array(stored, wide), shape)
        value = None if value is None else np.asarray(value, wide)
    except VertebraError:
        raise
    except Exception as error:
        raise _broken(backbone_class, f"failed for {name} ({exception_text(error)})") from error
    if value is not None and value.shape != shape:
        raise _broken(backbone_class, f"returned {name} in the shape {value.shape}, expected {shape}")
    return value


def _broken(backbone_class: Any, problem: str) -> PluginError:
    method = f"{backbone_class.__name__}.resize_weight"
    return PluginError(backbone_class.__module__.partition(".")[0], f"{method} {problem}", "Correct the method")
