"""The weights of a backbone in torch's terms: each once, by a name that is the same in every process.

Keras registers each variable as a parameter of its layer and of the model, under names that number the random seeds of
the process. So the state dict of one backbone would not fit another one of the same class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch


def tensors_of(model: Any) -> dict[str, torch.nn.Parameter]:
    """Returns each weight of a backbone by its name, such as `transformer_layer_0.self_attention.query.kernel`."""
    return {name.replace("/", "."): weight.value for name, weight in model.named_weights().items()}


def rename(model: Any, states: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    """Replaces the entries that Keras's modules have made in a state dict by one entry for each weight."""
    for key, _ in _entries(model, prefix):
        states.pop(key, None)
    for name, tensor in tensors_of(model).items():
        states[prefix + name] = tensor if keep_vars else tensor.detach()


def load(model: Any, states: dict[str, Any], prefix: str, missing: list[str], errors: list[str]) -> None:
    """Takes the weights out of a state dict, copies their values, and leaves Keras's modules nothing else to load.

    Args:
        model: The backbone.
        states: The state dict; the entries of the modules below the backbone become their present values.
        prefix: Prefix of the backbone's names.
        missing: Gets the names of weights that the state dict lacks.
        errors: Gets a text for each weight of another shape.
    """
    for name, tensor in tensors_of(model).items():
        found = states.pop(prefix + name, None)
        if found is None:
            missing.append(prefix + name)
        elif found.shape != tensor.shape:
            shapes = f"{tuple(found.shape)} in the state dict, and {tuple(tensor.shape)} in the model"
            errors.append(f"size mismatch for {prefix + name}: its shape is {shapes}.")
        else:
            with torch.no_grad():
                tensor.copy_(found)
    states.update(_entries(model, prefix))


def named_parameters(model: Any, parameters: Iterator[tuple[str, Any]], prefix: str) -> Iterator[tuple[str, Any]]:
    """Returns the weights among a backbone's parameters, as its state dict names and orders them."""
    start = f"{prefix}." if prefix else ""
    own = {id(parameter) for _, parameter in parameters}
    return ((start + name, tensor) for name, tensor in tensors_of(model).items() if id(tensor) in own)


def _entries(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Returns the parameters of the modules below a backbone, under Keras's names, several of which may be the same."""
    known = {id(variable.value) for variable in model.variables}
    for path, module in model.named_modules(prefix=prefix.removesuffix("."), remove_duplicate=False):
        own: Mapping[str, Any] = module._parameters
        yield from ((f"{path}.{key}", tensor) for key, tensor in own.items() if id(tensor) in known)
