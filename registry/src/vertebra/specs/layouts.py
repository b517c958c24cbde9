"""Layouts: how the weights of an architecture are divided among devices, by role, and where each weight is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Split = Literal["columns", "rows", "vocabulary"]
SPLITS: Mapping[str, str] = {
    "columns": "the outputs of a kernel, and its bias",
    "rows": "the inputs of a kernel; its bias is whole",
    "vocabulary": "the tokens of a table",
}
"""For each split, the axis of the layer's weights that is divided."""
PARALLEL = ("data", "fsdp", "tensor")
"""The ways in which an axis of a mesh is used: `data` divides the batch, `fsdp` the batch and the weights (each weight
is gathered for the layers that use it), `tensor` the weights by an architecture's layout, with the work on them."""


@dataclass(frozen=True, slots=True)
class LayoutRule:
    """How the weights of one role are divided along a tensor-parallel axis of a mesh."""

    role: str
    """The role, such as `attention.query`: the name that `lora_roles` has for it."""
    layers: tuple[str, ...]
    """Globs of the paths of the role's layers."""
    split: Split
    """`columns` of a kernel (its outputs, and the bias), `rows` (its inputs), or the `vocabulary` of a table."""
    units: str
    """The backbone's argument that counts the parts which stay whole, such as `num_heads`: a number of devices must
    divide it."""

    def __post_init__(self) -> None:
        valid = isinstance(self.layers, tuple) and self.layers and all(isinstance(glob, str) for glob in self.layers)
        if not valid:
            raise TypeError(f"LayoutRule {self.role}: layers={self.layers!r}, expected a tuple of globs")
        if not isinstance(self.split, str) or self.split not in SPLITS:
            raise TypeError(f"LayoutRule {self.role}: split={self.split!r}, expected {', '.join(SPLITS)}")
        if not isinstance(self.role, str) or not isinstance(self.units, str):
            raise TypeError(f"LayoutRule: role={self.role!r}, units={self.units!r}, expected names")


def layout_rules(roles: Mapping[str, Sequence[str]], splits: Mapping[str, tuple[Split, str]]) -> tuple[LayoutRule, ...]:
    """Returns the layout of an architecture from its `lora_roles`.

    Args:
        roles: Globs of layer paths by role.
        splits: For each role that is divided, its split and the argument that counts its units.
    """
    return tuple(LayoutRule(role, tuple(roles[role]), *split) for role, split in splits.items())


@dataclass(frozen=True, slots=True)
class WeightPlacement:
    """Where one weight is: which of its axes are divided along which axes of the mesh."""

    shape: tuple[int, ...]
    """The shape of the whole weight."""
    divided: tuple[tuple[str, ...], ...]
    """For each axis of the weight, the axes of the mesh along which it is divided, outermost first; empty if whole."""
    reason: str = ""
    """Why it is replicated along an axis of the mesh that could divide it; empty if nothing is to be explained."""

    def parts(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Returns the number of parts of each axis, from the sizes of the mesh's axes."""
        return tuple(math.prod(sizes[name] for name in names) for names in self.divided)

    def share(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Returns the shape of one device's part."""
        return tuple(size // parts for size, parts in zip(self.shape, self.parts(sizes), strict=True))


@dataclass(frozen=True, slots=True)
class MeshAxis:
    """An axis of a mesh of devices."""

    name: str
    size: int
    parallel: Literal["data", "fsdp", "tensor"]
    """The use of the axis, as in `PARALLEL`."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The placement receipt of a backbone: its mesh, and where each weight is; `print` it."""

    axes: tuple[MeshAxis, ...]
    """The axes of the mesh, outermost first."""
    weights: Mapping[str, WeightPlacement]
    """The placement of each weight, by its name."""
    derived: bool = False
    """Whether the layout was derived from the shapes, as the architecture declares none."""

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the mesh's axes by name."""
        return {axis.name: axis.size for axis in self.axes}

    def __str__(self) -> str:
        return "\n".join([self._title(), *self._groups()])

    def _title(self) -> str:
        axes = " × ".join(f"{axis.name} {axis.size} ({axis.parallel})" for axis in self.axes)
        return f"mesh {axes}" + ("; layout derived from the shapes of the weights" if self.derived else "")

    def _groups(self) -> list[str]:
        """Returns a line for each group of weights that differ only in the numbers of their names."""
        groups: dict[tuple[str, WeightPlacement], int] = {}
        for name, weight in self.weights.items():
            key = re.sub(r"_\d+(?=/|$)", "_*", name), weight
            groups[key] = groups.get(key, 0) + 1
        return [f"{_described(weight)}  {name} ({count})" for (name, weight), count in groups.items()]


def _described(weight: WeightPlacement) -> str:
    axes = ", ".join(" × ".join([str(size), *names]) for size, names in zip(weight.shape, weight.divided, strict=True))
    extent = "in larger parts" if any(weight.divided) else "whole"
    return f"({axes})" + (f" {extent}: {weight.reason}" if weight.reason else "")
