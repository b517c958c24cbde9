"""Co-trained weights of adapters, and learning rates of their variables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vertebra._keras.internals import Update, all_layers, wrap_update
from vertebra._lora.base_weights import BaseModel
from vertebra._lora.layers.adapter_layers import AdapterLayerBase
from vertebra._lora.targets import Roles, find_layers
from vertebra.errors import LoraConfigError

BIASES = ("none", "lora", "all")
BIAS_NAMES = ("bias", "beta")


def weights_to_train(
    base: BaseModel, adapted: Iterable[str], bias: str, train: Sequence[str], roles: Roles
) -> list[str]:
    """Returns the names of the base weights to train with an adapter.

    Args:
        base: The model without adapters.
        adapted: Paths of the adapted layers.
        bias: `none`; `lora`, the biases of the adapted layers; or `all`, all biases, including normalisation layers'.
        train: Targets of layers that train in full.
        roles: Globs of paths for each role of the architecture.

    Raises:
        LoraConfigError: `bias` has another value.
        LoraTargetError: a target matches no layer.
    """
    if bias not in BIASES:
        raise LoraConfigError("LoRA settings", "bias", bias, f"one of {', '.join(BIASES)}")
    paths = set(adapted)
    full = find_layers(base.model, train, roles, base.layers) if train else {}
    return [
        name
        for name, weight in base.weights.items()
        if _is_bias(name, bias, paths) or any(name.startswith(f"{path}/") for path in full)
        if _is_float(weight)
    ]


def groups(model: Any) -> dict[float, list[Any]]:
    """Returns the trainable variables, by the factor of their learning rate."""
    factors: dict[int, float] = {}
    for adapter_layer in (layer for layer in all_layers(model) if isinstance(layer, AdapterLayerBase)):
        rates = adapter_layer.strategy.learning_rates(adapter_layer.options)
        factors |= {id(getattr(adapter_layer, name)): factor for name, factor in rates.items()}
    variables: dict[float, list[Any]] = {}
    for variable in model.trainable_weights:
        variables.setdefault(factors.get(id(variable), 1.0), []).append(variable)
    return variables


def set_learning_rates(model: Any, optimizer: Any) -> Any:
    """Makes an optimiser update each group of variables at its own rate; returns the optimiser."""
    factors = {id(variable): factor for factor, own in groups(model).items() for variable in own}

    def by_groups(update: Update) -> Update:
        def update_groups(gradients: list[Any], variables: list[Any], learning_rate: Any) -> None:
            for factor in dict.fromkeys(factors.get(id(variable), 1.0) for variable in variables):
                chosen = [
                    (gradient, variable)
                    for gradient, variable in zip(gradients, variables, strict=True)
                    if factors.get(id(variable), 1.0) == factor
                ]
                update([pair[0] for pair in chosen], [pair[1] for pair in chosen], learning_rate * factor)

        return update_groups

    wrap_update(optimizer, by_groups)
    return optimizer


def _is_bias(name: str, bias: str, adapted: set[str]) -> bool:
    path, _, last = name.rpartition("/")
    return last in BIAS_NAMES and (bias == "all" or (bias == "lora" and path in adapted))


def _is_float(weight: Any) -> bool:
    return "float" in str(weight.dtype)
