"""The mesh of one load: which axis is used how, where each weight is, and its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra._placement.axes import Parallel, mesh_axes
from vertebra._placement.placing import Layout, Shape, place_weights
from vertebra.errors import ArgumentError, MeshError
from vertebra.interfaces import Runtime
from vertebra.specs import LayoutRule, MeshAxis, Placement

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

AUTO = "auto"
_ON_UNEVEN = ("error", "replicate")
_FUNCTION = "from_preset"


@dataclass(frozen=True, slots=True)
class MeshChoice:
    """The mesh that a user chose for a backbone, and how it is to be used."""

    runtime: Runtime
    mesh: Any
    axes: tuple[MeshAxis, ...]
    rules: tuple[LayoutRule, ...] | None
    """Rules of the user, or None for those of the architecture."""
    derives: bool
    """Whether an architecture that declares no layout is divided by the shapes of its weights."""
    replicates_uneven: bool

    @property
    def has_others(self) -> bool:
        """Whether the mesh has devices of other processes."""
        return self.runtime.process_of(self.mesh)[1] > 1

    def facts(self) -> dict[str, object]:
        """Returns the choice as facts that must be the same in all processes."""
        return {
            "the mesh": ", ".join(f"{axis.name} {axis.size} ({axis.parallel})" for axis in self.axes),
            "the layout": (self.rules, self.derives),
            "on_uneven": "replicate" if self.replicates_uneven else "error",
        }

    def division(self, backbone: Any, shapes: Mapping[str, Shape], outermost: Mapping[str, int]) -> Division:
        """Places the weights of a backbone.

        Args:
            backbone: The backbone; its weights need no values.
            shapes: The shapes of the weights by name.
            outermost: The axis of each weight whose parts are contiguous in the file, if it is not the first.

        Raises:
            LayoutError: as in `place_weights`.
        """
        kind = type(backbone)
        rules = declared_layout(kind) if self.rules is None else self.rules
        arguments, derives = backbone._arguments, self.derives and not rules
        layout = Layout(kind.__name__, rules, arguments, derives, self.replicates_uneven, outermost)
        return Division(self.runtime, self.mesh, place_weights(shapes, self.axes, layout))


@dataclass(frozen=True, slots=True)
class Division:
    """Where the weights of a backbone are on its mesh."""

    runtime: Runtime
    mesh: Any
    placement: Placement

    def tensor(self, name: str, dtype: str, part: Callable[[tuple[slice, ...]], Array]) -> Any:
        """Returns a tensor for the weight of a name, of which each device holds its part."""
        weight = self.placement.weights[name]
        return self.runtime.divide(self.mesh, weight.divided, weight.shape, dtype, part)

    def whole(self, array: Array, dtype: str) -> Any:
        """Returns a tensor of which each device holds a copy."""
        axes: list[tuple[str, ...]] = [()] * array.ndim
        return self.runtime.divide(self.mesh, axes, array.shape, dtype, lambda index: array[index])


def chosen_mesh(
    runtime: Runtime, mesh: Any, layout: str | Sequence[LayoutRule] | None, parallel: Parallel, on_uneven: str
) -> MeshChoice | None:
    """Checks the arguments of `Backbone.from_preset` that choose a mesh; returns None if there is none.

    Raises:
        ArgumentError: an argument has a wrong type or value.
        MeshError: the mesh is none of the runtime's, or the use of an axis is not known.
    """
    if mesh is None:
        _refuse_without_mesh(layout=layout, parallel=parallel, on_uneven=None if on_uneven == "error" else on_uneven)
        return None
    sizes = runtime.mesh_sizes(mesh)
    if sizes is None:
        kind = type(mesh)
        problem = f"it is a {kind.__module__}.{kind.__qualname__}, and the runtime is {runtime.name}"
        raise MeshError(problem, "Pass a jax.sharding.Mesh on jax, a torch DeviceMesh on torch, or one of Keras")
    if on_uneven not in _ON_UNEVEN:
        raise ArgumentError(_FUNCTION, "on_uneven", on_uneven, " or ".join(map(repr, _ON_UNEVEN)))
    rules: tuple[LayoutRule, ...] | None = None
    if layout is not None and layout != AUTO:
        given = () if isinstance(layout, str) or not isinstance(layout, Sequence) else layout
        rules = tuple(rule for rule in given if isinstance(rule, LayoutRule))
        if not rules or len(rules) != len(given):
            raise ArgumentError(_FUNCTION, "layout", layout, f"None, {AUTO!r} or a sequence of LayoutRule")
    return MeshChoice(runtime, mesh, mesh_axes(sizes, parallel), rules, layout == AUTO, on_uneven == "replicate")


def _refuse_without_mesh(**arguments: object) -> None:
    """Raises ArgumentError for an argument that has a value, and would have no effect."""
    for name, value in arguments.items():
        if value is not None:
            raise ArgumentError(_FUNCTION, name, value, "a mesh with it: pass mesh=")


def declared_layout(backbone_class: type) -> tuple[LayoutRule, ...]:
    """Returns the layout of an architecture, or of the one that a class extends; empty if none is declared."""
    known = catalog(BACKBONES)
    name = next((base.__name__ for base in backbone_class.__mro__ if base.__name__ in known), None)
    layout: tuple[LayoutRule, ...] = () if name is None else known.lookup(name).value.layout
    return layout
