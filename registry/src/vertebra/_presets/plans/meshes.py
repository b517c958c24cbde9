"""Meshes of a plan: from the texts of the command's options, and all that a number of devices allows."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from vertebra._placement.axes import mesh_axes
from vertebra.errors import ArgumentError, MeshError
from vertebra.specs import MeshAxis
from vertebra.specs.layouts import PARALLEL

MOST_DEVICES = 1_000_000
"""Most devices of a plan."""
_USES = {1: ("fsdp",), 2: ("fsdp", "tensor"), 3: ("data", "fsdp", "tensor")}
"""The uses of the axes by their number, if none are given."""


def parse_mesh(text: str) -> tuple[int, ...]:
    """Returns the sizes of a mesh from a text such as `2x4`.

    Raises:
        ArgumentError: the text is no such sizes.
    """
    sizes = tuple(map(int, text.split("x"))) if re.fullmatch(r"[0-9]{1,7}(x[0-9]{1,7})*", text) else ()
    if not sizes or not all(sizes):
        raise ArgumentError(
            "vertebra plan", "--mesh", text, "sizes of at least 1 with x between them, such as 8 or 2x4"
        )
    return sizes


def axes_of(sizes: Sequence[int], devices: int, parallel: Sequence[str] | None = None) -> tuple[MeshAxis, ...]:
    """Returns the axes of a mesh, with the names of their uses.

    Args:
        sizes: The size of each axis, outermost first.
        devices: The number of devices.
        parallel: The use of each axis, or None for `fsdp` of one, `fsdp`, `tensor` of two, and `data` before them of
            three.

    Raises:
        MeshError: the sizes are not those of so many devices, or the uses do not fit.
    """
    text = "x".join(map(str, sizes))
    if math.prod(sizes) != devices:
        problem = f"{text} has {math.prod(sizes):,} devices, and --devices is {devices:,}"
        raise MeshError(problem, "Give a mesh whose sizes have that product, or leave out --devices")
    uses = _USES.get(len(sizes)) if parallel is None else tuple(parallel)
    if uses is None or len(uses) != len(sizes):
        given = "is not given" if parallel is None else f"names {len(parallel)} uses"
        problem = f"{text} has {len(sizes)} axes, and --parallel {given}"
        raise MeshError(problem, f"Name one of {', '.join(PARALLEL)} for each axis, such as --parallel fsdp,tensor")
    unknown = [use for use in uses if use not in PARALLEL]
    if unknown:
        raise MeshError(f"{unknown[0]!r} is no use of an axis", f"Pass --parallel with {', '.join(PARALLEL)}")
    names, counts = [], Counter(uses)
    for number, use in enumerate(uses):
        names.append(use if counts[use] == 1 else f"{use}_{uses[: number + 1].count(use)}")
    return mesh_axes(dict(zip(names, sizes, strict=True)), dict(zip(names, uses, strict=True)))


def meshes_of(devices: int) -> list[tuple[MeshAxis, ...]]:
    """Returns the meshes of fsdp and tensor parallelism that a number of devices allows, the smallest tensor first.

    Tensor parallelism sends activations in each layer, so less of it comes first.
    """
    tensors = [size for size in range(1, math.isqrt(devices) + 1) if devices % size == 0]
    every = sorted({*tensors, *(devices // size for size in tensors)})
    return [axes_of((devices // size, size), devices) for size in every]


def mesh_text(axes: Sequence[MeshAxis]) -> str:
    """Returns the sizes and uses of a mesh, such as `2x4 (fsdp, tensor)`."""
    return f"{'x'.join(str(axis.size) for axis in axes)} ({', '.join(axis.parallel for axis in axes)})"
