"""The axes of a mesh: their sizes, and in which way each is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vertebra.errors import MeshError
from vertebra.specs import MeshAxis
from vertebra.specs.layouts import PARALLEL

_USES = {
    "data": ("data", "batch", "dp", "replica", "replicate"),
    "fsdp": ("fsdp", "shard", "zero"),
    "tensor": ("tensor", "model", "tp"),
}
_USE_OF = {name: use for use, names in _USES.items() for name in names}

Parallel = str | Sequence[str] | Mapping[str, str] | None
"""The uses of a mesh's axes: one for a single axis, one for each in order, or by the axis's name."""


def mesh_axes(sizes: Mapping[str, int], parallel: Parallel = None) -> tuple[MeshAxis, ...]:
    """Returns the axes of a mesh with their uses.

    Args:
        sizes: The sizes by name, outermost first.
        parallel: The uses, as in `vertebra.specs.layouts.PARALLEL`; an axis whose use is not given has that of its
            name: `data` for `batch`, `data`, `dp`; `fsdp`; `tensor` for `model`, `tensor`, `tp`.

    Raises:
        MeshError: an axis has no device or no known use, or two axes are `tensor`.
    """
    uses = _uses_by_name(tuple(sizes), parallel)
    found = []
    for name, size in sizes.items():
        if size < 1:
            raise MeshError(f"its axis {name!r} has {size} devices", "Each axis needs at least one")
        use = uses.get(name) or _USE_OF.get(name.lower())
        if use not in PARALLEL:
            raise MeshError(_unknown(name, use), f'Pass parallel={{"{name}": …}} with {", ".join(PARALLEL)}')
        found.append(MeshAxis(name, size, use))  # type: ignore[arg-type]
    tensor = [axis.name for axis in found if axis.parallel == "tensor"]
    if len(tensor) > 1:
        raise MeshError(f"its axes {' and '.join(tensor)} are both tensor-parallel", "Use one of them as data or fsdp")
    return tuple(found)


def _uses_by_name(names: Sequence[str], parallel: Parallel) -> Mapping[str, Any]:
    if parallel is None:
        return {}
    if isinstance(parallel, str):
        parallel = [parallel]
    if isinstance(parallel, Mapping):
        others = [name for name in parallel if name not in names]
        if others:
            raise MeshError(f"it has no axis {others[0]!r}", f"Its axes are {', '.join(names)}")
        return parallel
    if not isinstance(parallel, Sequence):
        raise MeshError(f"parallel={parallel!r} names no uses", f"Name one of {', '.join(PARALLEL)} for each axis")
    if len(parallel) != len(names):
        problem = f"it has {len(names)} axes, and parallel names {len(parallel)} uses"
        raise MeshError(problem, f"Name one of {', '.join(PARALLEL)} for each of {', '.join(names)}")
    return dict(zip(names, parallel, strict=True))


def _unknown(name: str, use: object) -> str:
    return f"the use of its axis {name!r} is not known" if use is None else f"{use!r} is no use of an axis"
