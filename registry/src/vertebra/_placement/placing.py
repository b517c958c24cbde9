"""Places weights on a mesh: by the rules of a layout, or by the shapes of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from vertebra.errors import LayoutError
from vertebra.specs import LayoutRule, MeshAxis, Placement, WeightPlacement

Shape = tuple[int, ...]
_UNTIED = "reverse_"
"""How the names of weights begin that have the tokens on their last axis."""

_LARGE = ("kernel", "bias", "embeddings")
"""The weights of a layer that its role divides, or else an error says why not."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How weights are to be divided.

    Args:
        backbone: The name of the architecture, for errors.
        rules: The rules of its roles.
        arguments: The arguments of the backbone, which count heads, for example.
        derived: Whether to divide by the shapes of the weights instead of by rules.
        replicates_uneven: Whether a weight that cannot be divided evenly is replicated; otherwise it is an error.
        outermost: The axis of each weight whose parts are contiguous in the file, if it is not the first.
    """

    backbone: str
    rules: Sequence[LayoutRule]
    arguments: Mapping[str, Any]
    derived: bool = False
    replicates_uneven: bool = False
    outermost: Mapping[str, int] = field(default_factory=dict)


def place_weights(shapes: Mapping[str, Shape], axes: Sequence[MeshAxis], layout: Layout) -> Placement:
    """Returns where each weight is.

    Args:
        shapes: The shapes of the weights by name.
        axes: The axes of the mesh.
        layout: The layout.

    Raises:
        LayoutError: a weight cannot be divided evenly, or the architecture declares no layout and none is derived.
    """
    tensor = [axis for axis in axes if axis.parallel == "tensor" and axis.size > 1]
    if tensor and not layout.rules and not layout.derived:
        remedy = 'Pass layout="auto" to derive one from the shapes of the weights, or a sequence of LayoutRule'
        raise LayoutError(layout.backbone, "its architecture declares no layout", remedy)
    weights = {name: _weight(name, shape, axes, layout) for name, shape in shapes.items()}
    return Placement(tuple(axes), weights, layout.derived)


def _weight(name: str, shape: Shape, axes: Sequence[MeshAxis], layout: Layout) -> WeightPlacement:
    divided: list[list[str]] = [[] for _ in shape]
    parts = [1] * len(shape)
    reasons = []
    for axis in sorted(axes, key=lambda axis: axis.parallel != "tensor"):  # the layout's axis is chosen first
        if axis.parallel == "data" or axis.size == 1:
            continue
        if axis.parallel == "tensor":
            chosen, reason = _by_layout(name, shape, axis, layout)
        else:
            chosen, reason = _by_shape(name, shape, parts, axis, layout)
        if chosen is not None:
            divided[chosen].append(axis.name)
            parts[chosen] *= axis.size
        elif reason:
            reasons.append(reason)
    order = [axis.name for axis in axes]
    return WeightPlacement(shape, tuple(tuple(sorted(names, key=order.index)) for names in divided), "; ".join(reasons))


def _by_layout(name: str, shape: Shape, axis: MeshAxis, layout: Layout) -> tuple[int | None, str]:
    """Returns the axis that a tensor-parallel axis of the mesh divides, or None and why there is none."""
    if layout.derived:
        return _derived(shape, axis)
    path, _, leaf = name.rpartition("/")
    rule = next((rule for rule in layout.rules if any(fnmatchcase(path, glob) for glob in rule.layers)), None)
    chosen = None if rule is None else _axis_of(rule, leaf, len(shape))
    if rule is None or chosen is None:
        return None, ""  # such as norms, and biases of rows: every device needs all of them
    units = layout.arguments.get(rule.units)
    count = units if isinstance(units, int) else shape[chosen]
    if count % axis.size == 0 and shape[chosen] % axis.size == 0:
        return chosen, ""
    problem = f"{rule.role}: {rule.units} {count}" + ("" if count % axis.size else f", {shape[chosen]} {rule.split}")
    problem += f" cannot be divided by {axis.size}"
    is_scale = leaf.removeprefix(_UNTIED) not in _LARGE  # of a quantised layer
    return None, problem if is_scale else _uneven(name, problem, axis, layout)


def _axis_of(rule: LayoutRule, leaf: str, rank: int) -> int | None:
    if rank == 0:
        return None  # such as the scale of a whole tensor
    if rule.split == "vocabulary":
        return rank - 1 if leaf.startswith(_UNTIED) else 0
    if rule.split == "columns":
        return rank - 1
    return 0 if rank > 1 else None


def _derived(shape: Shape, axis: MeshAxis) -> tuple[int | None, str]:
    """Divides the outputs of a kernel if they are divisible, or else another axis."""
    candidates = [number for number in reversed(range(len(shape))) if shape[number] % axis.size == 0]
    if len(shape) < 2:
        return None, ""
    return (candidates[0], "") if candidates else (None, f"no axis of {shape} is divisible by {axis.size}")


def _by_shape(name: str, shape: Shape, parts: Sequence[int], axis: MeshAxis, layout: Layout) -> tuple[int | None, str]:
    """Divides the first axis that no other axis of the mesh divides: its part is contiguous in the file."""
    if len(shape) < 2:
        return None, ""  # vectors are too small to be worth gathering
    candidates = [number for number in range(len(shape)) if shape[number] % (parts[number] * axis.size) == 0]
    if candidates:
        outermost = layout.outermost.get(name, 0)
        return min(candidates, key=lambda number: (parts[number] > 1, number != outermost, number)), ""
    problem = f"no axis of {shape} can be divided by {axis.size}"
    return None, problem if layout.derived else _uneven(name, problem, axis, layout)


def _uneven(name: str, problem: str, axis: MeshAxis, layout: Layout) -> str:
    """Returns why a weight is replicated.

    Raises:
        LayoutError: it must not be.
    """
    if layout.replicates_uneven:
        return problem
    remedy = f'Pass on_uneven="replicate" to have the weight on all devices, or another size of the axis {axis.name!r}'
    raise LayoutError(layout.backbone, f"{name}, {problem}", remedy)
