"""Batches of a backbone on a mesh: their rows are divided along the axes that divide the work on them."""

from __future__ import annotations

import math
from typing import Any

import jax
import keras

from vertebra_jax.meshes import sharding


def distribute_rows(model: Any, inputs: Any) -> Any:
    """Returns inputs whose rows are divided along the mesh's axes of use `data` and `fsdp`.

    If these do not divide the number of rows, each device has the whole batch. In several processes, each process has
    the same batch, or global arrays of JAX.
    """
    axes = [axis for axis in model.placement.axes if axis.parallel != "tensor" and axis.size > 1]
    parts = math.prod(axis.size for axis in axes)
    leaves = [leaf for leaf in keras.tree.flatten(inputs) if isinstance(leaf, jax.Array)]
    even = all(leaf.ndim and leaf.shape[0] % parts == 0 for leaf in leaves)
    rows = tuple(axis.name for axis in axes) if even else ()

    def distributed(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array):
            return leaf
        wanted = sharding(model._mesh, [rows, *[()] * (leaf.ndim - 1)] if leaf.ndim else [])
        if isinstance(leaf, jax.core.Tracer):
            return jax.lax.with_sharding_constraint(leaf, wanted)
        return jax.device_put(leaf, wanted)

    return keras.tree.map_structure(distributed, inputs)
