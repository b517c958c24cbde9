"""Applies tensor rules: extracts weights from the tensors of a file, and assembles tensors from weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vertebra.translations import TensorRule

if TYPE_CHECKING:
    import numpy as np

Shape = tuple[int, ...]


def stored_shape(rule: TensorRule, weight: Shape) -> Shape:
    """Returns the shape of the tensor that holds a weight of the given shape."""
    if rule.shape is not None:
        return rule.shape
    whole = _whole(rule, weight)
    if rule.first_row:
        whole = (max(whole[0] - rule.first_row, 0), *whole[1:])
    return whole[::-1] if rule.transpose else whole


def weight_shape(rule: TensorRule, stored: Shape) -> Shape | None:
    """Returns the shape of the weight in a tensor of the given shape, or None if the rule does not determine it."""
    if rule.shape is not None:
        return None
    whole = stored[::-1] if rule.transpose else stored
    if rule.added:
        return (1, *whole[1:])
    if rule.first_row:
        return (whole[0] + rule.first_row, *whole[1:])
    if rule.part is None:
        return whole
    return (*whole[:-1], whole[-1] // rule.part[1] * rule.taken) if whole else None


def fits(rule: TensorRule, weight: Shape, stored: Shape) -> bool:
    """Says whether a tensor of shape `stored` can hold a weight of shape `weight` under the rule."""
    if rule.added or rule.first_row:
        return weight_shape(rule, stored) == weight
    return stored_shape(rule, weight) == stored and math.prod(_whole(rule, weight)) == math.prod(stored)


def take(rule: TensorRule, array: np.ndarray[Any, Any], weight: Shape) -> np.ndarray[Any, Any]:
    """Extracts a weight's value from its tensor, as a view if the layout allows one."""
    import numpy as np

    if rule.added:
        return np.zeros(weight, array.dtype)
    if rule.first_row:
        return np.concatenate([np.zeros((rule.first_row, *weight[1:]), array.dtype), array])
    ordered = array.transpose(_axes(rule, array.ndim)).reshape(_whole(rule, weight))
    if rule.part is None:
        return ordered
    first = rule.part[0] * weight[-1] // rule.taken
    return ordered[..., first : first + weight[-1]]


def viewed(rule: TensorRule, tensor: np.ndarray[Any, Any], weight: Shape) -> np.ndarray[Any, Any] | None:
    """Returns a weight's value as a view of its tensor, as `take`, but None if it would be a copy."""
    import numpy as np

    if rule.added or rule.first_row or stored_shape(rule, weight) != tensor.shape:
        return None
    try:
        ordered = np.reshape(tensor.transpose(_axes(rule, tensor.ndim)), _whole(rule, weight), copy=False)
    except (TypeError, ValueError):  # numpy 1 cannot tell whether it would copy
        return None
    if rule.part is None:
        return ordered
    first = rule.part[0] * weight[-1] // rule.taken
    return ordered[..., first : first + weight[-1]]


def outermost_axis(rule: TensorRule, stored: Shape, weight: Shape) -> int:
    """Returns the axis of a weight whose parts are contiguous in the tensor's bytes: its outermost one."""
    if not weight or rule.added or rule.first_row:
        return 0
    position = _axes(rule, len(stored)).index(0)
    before = math.prod(stored[axis] for axis in _axes(rule, len(stored))[:position])
    whole, sizes = _whole(rule, weight), 1
    for axis, size in enumerate(whole):
        if sizes == before and size > 1:
            return axis
        sizes *= size
    return 0


def put(rules: Sequence[TensorRule], weights: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Assembles a tensor from its weights, in the order of their parts; the inverse of `take`."""
    import numpy as np

    rule = rules[0]
    if rule.first_row:
        rows = weights[0][rule.first_row :]
        return sum(weights[1:], rows).astype(rows.dtype) if weights[1:] else rows
    whole = weights[0] if rule.part is None else np.concatenate(weights, axis=-1)
    axes = _axes(rule, len(rule.shape or whole.shape))
    shape = whole.shape if rule.shape is None else tuple(rule.shape[axis] for axis in axes)
    if rule.shape is None and rule.transpose:
        return whole.T
    return whole.reshape(shape).transpose(np.argsort(axes))


def holders(rules: Mapping[str, TensorRule]) -> dict[str, list[str]]:
    """Returns the weights of each tensor, in the order of their parts."""
    held: dict[str, list[str]] = {}
    for weight, rule in rules.items():
        held.setdefault(rule.tensor, []).append(weight)
    return {
        tensor: sorted(weights, key=lambda name: (rules[name].added, rules[name].part or (0, 1)))
        for tensor, weights in held.items()
    }


def _whole(rule: TensorRule, weight: Shape) -> Shape:
    """Returns the shape of all parts of the weight's tensor, concatenated along the last axis."""
    if rule.part is None or not weight:
        return weight
    return (*weight[:-1], weight[-1] * rule.part[1] // rule.taken)


def _axes(rule: TensorRule, count: int) -> tuple[int, ...]:
    if rule.axes is not None:
        return rule.axes
    return tuple(reversed(range(count))) if rule.transpose else tuple(range(count))
