"""Copies of a skeleton that compute with given tensors, which the copy reads at each use.

Assigning tensors to a module, as `torch.func.functional_call` does, would mix up the calls of several threads, and miss
the cast of mixed precision. Here the class of each module in a copy has a property for each tensor.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from vertebra_torch_module.skeleton import WITH_STATISTICS, Linear, Slot

Read = Callable[[], torch.Tensor]


def bound(
    skeleton: nn.Module,
    tensors: Mapping[Slot, Read],
    linears: Mapping[str, nn.Module],
    write: Callable[[Slot, torch.Tensor], None],
    trains: Callable[[str], bool] = lambda _path: True,
) -> nn.Module:
    """Returns a copy of a skeleton that computes with other tensors.

    Args:
        skeleton: The skeleton.
        tensors: A function that returns the tensor, for each slot.
        linears: The module to call in place of each of these linear layers, by name.
        write: Called when the module assigns a new tensor to a buffer.
        trains: Says whether the module of this name trains now. If not, a layer with statistics of batches uses and
            keeps those it has, as Keras's `BatchNormalization` does.
    """
    module = copy.deepcopy(skeleton)
    own: dict[str, dict[str, Slot]] = defaultdict(dict)
    for slot in tensors:
        for name in slot.names:
            path, _, attribute = name.rpartition(".")
            own[path][attribute] = slot
    for path, layer in list(module.named_modules(remove_duplicate=False)):
        if path in linears:  # in the same object, which lists and methods of the module may have, too
            layer.__class__, layer.__dict__ = type(linears[path]), vars(linears[path])
        elif path in own and not isinstance(layer, _Bound):
            layer.__class__ = _bound_class(type(layer), own[path], tensors, write)
            if isinstance(layer, WITH_STATISTICS):
                layer.__class__ = _with_statistics(layer.__class__, partial(trains, path))
    for layer in module.modules():
        if hasattr(layer, "activation_relu_or_gelu"):  # 0 makes torch's encoder layers call their linear layers
            layer.activation_relu_or_gelu = 0
        if isinstance(layer, nn.TransformerEncoder):  # nested tensors are for the layers' other way to compute only
            layer.use_nested_tensor = False
    return module


def move_constants(module: nn.Module, device: torch.device | str, dtype: torch.dtype) -> None:
    """Moves buffers that are no weights to a device, and those of floats to a dtype, as `Module.to` does."""
    for owner in module.modules():
        for name, buffer in list(owner.__dict__["_buffers"].items()):  # weights are properties of the class instead
            if buffer is not None and not isinstance(getattr(type(owner), name, None), property):
                setattr(owner, name, buffer.to(device, dtype if buffer.is_floating_point() else buffer.dtype))


class AdaptableLinear(nn.Module):
    """The module in place of a linear layer: it calls a Keras layer, which has the weights."""

    def __init__(
        self, linear: Linear, layer: Callable[[torch.Tensor], torch.Tensor], refuse: Callable[[], Any]
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.layer.in_features, linear.layer.out_features
        self.__dict__["_layer"], self.__dict__["_refuse"] = layer, refuse

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Computes `input @ weight.T + bias`, and the adapters."""
        layer: Callable[[torch.Tensor], torch.Tensor] = self.__dict__["_layer"]
        return layer(input)

    @property
    def weight(self) -> torch.Tensor:
        """Raises an error: who reads the weight would compute without the adapters."""
        return self.__dict__["_refuse"]()  # type: ignore[no-any-return]

    @property
    def bias(self) -> torch.Tensor:
        """Raises an error, as `weight`."""
        return self.__dict__["_refuse"]()  # type: ignore[no-any-return]


class _Bound:
    """The base of the classes that are made here."""


def _bound_class(
    kind: type, own: Mapping[str, Slot], tensors: Mapping[Slot, Read], write: Callable[[Slot, torch.Tensor], None]
) -> type:
    buffers = {name: slot for name, slot in own.items() if slot.is_buffer}
    members: dict[str, Any] = {name: property(_reader(tensors[slot])) for name, slot in own.items()}

    parameters = [(name, tensors[slot]) for name, slot in own.items() if not slot.is_buffer]

    def all_parameters(module: nn.Module) -> dict[str, Any]:
        return module.__dict__["_parameters"] | {name: read() for name, read in parameters}

    def assign(module: nn.Module, name: str, value: Any) -> None:
        if name in buffers:
            write(buffers[name], value)
        else:
            kind.__setattr__(module, name, value)

    members["_parameters"] = property(all_parameters)  # which a module may ask for the dtype or the device
    members |= {"__setattr__": assign, "__module__": kind.__module__, "__doc__": kind.__doc__}
    if issubclass(kind, nn.RNNBase):  # which keeps its parameters in a list, and renews it if they have changed
        members["_flat_weights"] = property(_flat_weights, lambda _module, _value: None)
    return type(kind.__name__, (_Bound, kind), members)


def _with_statistics(kind: type, trains: Callable[[], bool]) -> type:
    """Returns a class whose modules are in training mode only while they train."""

    def is_training(module: nn.Module) -> bool:
        return bool(vars(module)["training"]) and trains()

    def set_mode(module: nn.Module, mode: bool) -> None:
        vars(module)["training"] = mode

    return type(kind.__name__, (kind,), {"training": property(is_training, set_mode), "__module__": kind.__module__})


def _reader(read: Read) -> Callable[[nn.Module], torch.Tensor]:
    return lambda _: read()


def _flat_weights(module: nn.RNNBase) -> list[torch.Tensor]:
    return [getattr(module, name) for name in module._flat_weights_names]
