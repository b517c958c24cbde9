"""Loading adapters: everything is checked first; then all of it is applied, or none."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from vertebra._lora.attach import Attached
from vertebra._lora.files import AdapterFile
from vertebra._lora.sites import site_of
from vertebra._weights.naming import weight_names
from vertebra.errors import AdapterBaseError, AdapterMismatchError, LoraStateError


def check_base(file: AdapterFile, found: str) -> None:
    """Compares the base that an adapter was trained on with a backbone's.

    Raises:
        AdapterBaseError: they differ. An adapter that knows no base, such as PEFT's, passes.
    """
    if file.base is not None and file.base != found:
        raise AdapterBaseError(file.path, file.base, found)


def check_same(file: AdapterFile, attached: Attached, backbone: Any) -> None:
    """Checks that an adapter can take the place of the one that is attached already.

    Raises:
        LoraStateError: rank, scale, strategy or layers differ, or base weights were trained beside the attached one
            that this one would leave as they are.
    """
    have, want = _describe(attached), _describe(file)
    if have != want or attached.adapters.keys() != file.adapters.keys():
        raise LoraStateError(
            f"The backbone has {have}, and {str(file.path)!r} holds {want}; the layers, too, must be the same",
            "Load it into a backbone without an adapter",
        )
    held = {id(variable) for adapter in attached.adapters.values() for variable in adapter.weights}
    trained = {name for name, weight in weight_names(backbone).items() if weight.trainable and id(weight) not in held}
    kept = sorted(trained - file.others.keys())
    if kept:
        raise LoraStateError(
            f"The backbone has weights that train beside its adapter ({', '.join(kept)}), and {str(file.path)!r} "
            "holds no values for them",
            "Load it into a backbone without an adapter",
        )


def _describe(adapter: AdapterFile | Attached) -> str:
    config = adapter.config
    return f"{config.strategy} of rank {config.rank} and scale {config.scale:g} on {len(adapter.adapters)} layers"


def check_tensors(file: AdapterFile, backbone: Any, layers: dict[str, Any], strategy: Any) -> None:
    """Checks the names of an adapter's tensors against the layers, before anything is built or changed.

    Raises:
        AdapterMismatchError: a tensor is missing, left over, or of a layer that takes no adapter; or a base weight is
            of another shape, or not of floats.
    """
    strangers = sorted(file.adapters.keys() - layers.keys())
    if strangers:
        raise AdapterMismatchError(file.path, "holds LoRA tensors of layers that cannot be adapted", strangers)
    missing, unused = [], []
    for path, tensors in file.adapters.items():
        needed = strategy.tensors(_site(file, path, layers[path])).keys()
        missing += [f"{path}: {tensor}" for tensor in needed - tensors.keys()]
        unused += [f"{path}: {tensor}" for tensor in tensors.keys() - needed]
    if missing or unused:
        raise AdapterMismatchError(file.path, "lacks tensors, or holds unknown ones", missing + unused)
    weights = weight_names(backbone)
    wrong = [
        f"{name} is {array.dtype} {array.shape}, needed {tuple(weights[name].shape)}"
        for name, array in file.others.items()
        if array.shape != tuple(weights[name].shape) or "float" not in array.dtype.name
    ]
    if wrong:
        raise AdapterMismatchError(file.path, "holds base weights of another shape", wrong)


def _site(file: AdapterFile, path: str, layer: Any) -> Any:
    try:
        return site_of(layer)
    except ValueError as error:
        raise AdapterMismatchError(file.path, f"adapts the layer {path!r}: {error}") from error


def pair_values(file: AdapterFile, attached: Attached, backbone: Any) -> list[tuple[Any, np.ndarray[Any, Any]]]:
    """Returns each variable with the value it takes.

    Raises:
        AdapterMismatchError: a tensor is not of the shape that the adapter has, or is not of floats.
    """
    pairs, wrong = [], []
    for path, adapter in attached.adapters.items():
        for tensor, variable in adapter.strategy.tensors(adapter.site).items():
            target, value = getattr(adapter, variable), file.adapters[path][tensor].T
            if tuple(target.shape) != value.shape or "float" not in value.dtype.name:
                wrong.append(f"{path}: {tensor} is {value.dtype} {value.shape}, needed {tuple(target.shape)}")
            pairs.append((target, value))
    if wrong:
        raise AdapterMismatchError(file.path, "holds tensors of another shape", wrong)
    if not all(np.isfinite(value.astype("float32")).all() for _, value in pairs):
        raise AdapterMismatchError(file.path, "holds values that are no finite numbers")
    return pairs + list(zip(base_weights(file, backbone), file.others.values(), strict=True))


def base_weights(file: AdapterFile, backbone: Any) -> list[Any]:
    """Returns the base weights that were trained beside the adapter."""
    weights = weight_names(backbone)
    return [weights[name] for name in file.others]


def assign(pairs: list[tuple[Any, np.ndarray[Any, Any]]]) -> None:
    """Gives each variable its value."""
    for variable, value in pairs:
        variable.assign(keras.ops.convert_to_tensor(value, dtype=variable.dtype))
