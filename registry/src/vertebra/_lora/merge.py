"""Merging: adding the active adapters to kernels and biases, and undoing it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from vertebra._lora.adapter import MergedWeight
from vertebra._lora.layers.kernels import Array, MergedLayer, matrix_of, merged_layer
from vertebra._lora.layers.projections import untouched_projections
from vertebra._lora.state import Adapters
from vertebra.errors import LoraStateError
from vertebra.specs import MergeReceipt


def merge(adapters: Adapters, reversible: bool) -> MergeReceipt:
    """Adds the active adapters' changes to the kernels and biases, and detaches their adapter layers."""
    adapters.require_unmerged()
    _check(adapters)
    sums = merged_layers(adapters)
    co_trained = {weight: value for name in adapters.active for weight, value in adapters.co_trained_of(name).items()}
    names, weights = adapters.active, adapters.base.weights
    projections = changed_projections(adapters)
    changed = [variable for merged in sums.values() for variable in merged.variables()]
    adapters.detach()
    originals = [(variable, _array(variable).copy()) for variable in [*changed, *map(weights.get, co_trained)]]
    try:
        for weight, value in co_trained.items():
            weights[weight].assign(keras.ops.convert_to_tensor(value, dtype=weights[weight].dtype))
        error = max(map(_replace, sums.values()))  # after co-trained biases, which it may change
    except BaseException:
        _restore(originals)
        adapters.reattach()
        raise
    if reversible:
        paths = {id(variable): name for name, variable in weights.items()}
        adapters.merged = [
            MergedWeight(paths[id(variable)], variable, before, _checksum(variable)) for variable, before in originals
        ]
    else:
        adapters.remove_all()
    largest = max(float(np.abs(merged.kernel).max()) for merged in sums.values())
    return MergeReceipt(names, tuple(sums), error, largest, reversible, tuple(projections))


def unmerge(adapters: Adapters) -> None:
    """Restores the original kernels, to the bit, and reattaches the adapter layers.

    Raises:
        LoraStateError: no adapter is merged, or a merged weight was changed since, which would be lost.
    """
    if adapters.merged is None:
        raise LoraStateError("No adapter is merged", "Call merge_lora() first")
    changed = [weight.name for weight in adapters.merged if _checksum(weight.variable) != weight.checksum]
    if changed:
        problem = f"These weights were changed after merging, and unmerging would discard that: {', '.join(changed)}"
        remedy = "To keep it, save the backbone with save_to_preset; to discard it, load base and adapter again"
        raise LoraStateError(problem, remedy)
    _restore([(weight.variable, weight.before) for weight in adapters.merged])
    adapters.merged = None
    adapters.reattach()


def merged_layers(adapters: Adapters) -> dict[str, MergedLayer]:
    """Returns each adapted layer as merging would change it, by path."""
    active = adapters.state.default
    return {path: merged_layer(path, layers, adapters.strengths) for path, layers in active.layers.items()}


def changed_projections(adapters: Adapters) -> list[str]:
    """Returns the tables whose projection to logits changes by merging, because the adapter does not apply to it."""
    plans = [adapters.known[name].plan for name in adapters.active]
    return list(dict.fromkeys(path for plan in plans for path in untouched_projections(plan, adapters.base.layers)))


def _replace(merged: MergedLayer) -> float:
    """Sets a layer's kernel and bias; returns the largest rounding error of the kernel."""
    merged.write(merged.view)
    return float(np.abs(matrix_of(merged.view) - merged.kernel).max())


def _restore(originals: Sequence[tuple[Any, Array]]) -> None:
    for variable, value in originals:
        variable.assign(keras.ops.convert_to_tensor(value, dtype=variable.dtype))


def _check(adapters: Adapters) -> None:
    adapters.require_no_unowned_weights()
    if not adapters.active:
        raise LoraStateError("No adapter is active, so there is nothing to merge", "Call activate_lora(name) first")
    paths = [path for name in adapters.active for path in adapters.known[name].plan.layers]
    modes = {path: mode for path in paths if (mode := getattr(adapters.base.layers[path], "quantization_mode", None))}
    if modes:
        path, mode = next(iter(modes.items()))
        problem = f"Layer {path!r} is quantised as {mode}, and the merged kernel would be rounded to that"
        raise LoraStateError(problem, "Call merged_copy(), which returns a copy in floats with the adapter merged")


def _checksum(variable: Any) -> int:
    """Returns a checksum of the value of a variable."""
    return zlib.crc32(np.ascontiguousarray(_array(variable)).view("uint8").data)


def _array(variable: Any) -> Array:
    array: Array = keras.ops.convert_to_numpy(variable.value)
    return array
