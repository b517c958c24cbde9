"""The structure of a module with given arguments: its tensors, and which of its linear layers are adapted."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from vertebra_torch_module.declared import INPUTS, Declaration
from vertebra_torch_module.errors import TorchModuleError
from vertebra_torch_module.inputs import Input, declared_inputs
from vertebra_torch_module.skeleton import Linear, Slot, linears_of, skeleton_of, slots_of
from vertebra_torch_module.tracing import Tracer

_KEPT = 8
"""Number of structures that are kept: a load needs its structure for the layer and for the translation."""


class Structure:
    """A skeleton of a module, and what its weights are.

    Args:
        declaration: The module that the user has named.
        arguments: The arguments of its constructor.
        inputs: Its inputs as in a config; None for those that the declaration or the class states.

    Raises:
        TorchModuleError: the module cannot be computed, or its inputs are not known.
    """

    def __init__(self, declaration: Declaration, arguments: Mapping[str, Any], inputs: Any = None) -> None:
        self.reference = declaration.reference
        self._make = functools.partial(declaration.module_class(), **arguments)
        stated = (
            declaration.inputs if declaration.inputs is not None else getattr(declaration.module_class(), INPUTS, None)
        )
        self.inputs: Input | dict[str, Input] = declared_inputs(stated if inputs is None else inputs, self.reference)
        self.skeleton = skeleton_of(self._make, self.reference)
        slots = slots_of(self.skeleton)
        tracer = Tracer(self.skeleton, slots, self.reference)
        self.linears: list[Linear] = tracer.adaptable(self.inputs, linears_of(self.skeleton, declaration.keep))
        inside = {name for one in self.linears for name in one.names}
        self.slots: list[Slot] = [slot for slot in slots if slot.name.rpartition(".")[0] not in inside]

    def initial_module(self) -> nn.Module:
        """Returns a new module, with the values with which its constructor begins."""
        return self._make()

    def outputs(self, inputs: Input | Mapping[str, Input], dtypes: tuple[torch.dtype, torch.dtype]) -> Any:
        """Returns the `Output`s for inputs of these shapes; `dtypes` are those of weights and of the computation."""
        tracer = Tracer(self.skeleton, slots_of(self.skeleton), self.reference, dtypes)
        return tracer.outputs(inputs)


def structure_of(declaration: Declaration, arguments: Mapping[str, Any], inputs: Any = None) -> Structure:
    """Returns the structure of a module, which must not be changed: others may have it.

    Raises:
        TorchModuleError: the module cannot be computed, its inputs are not known, or an argument is no JSON value.
    """
    try:
        as_json = json.dumps([dict(arguments), inputs], sort_keys=True)
    except (TypeError, ValueError):
        problem = f"its arguments are {dict(arguments)!r}, and not all of them are JSON values"
        remedy = "A preset has the arguments in its config: name a function that makes the module from JSON values"
        raise TorchModuleError(declaration.reference, problem, remedy) from None
    return _structure(declaration, as_json)


@functools.lru_cache(_KEPT)
def _structure(declaration: Declaration, as_json: str) -> Structure:
    arguments, inputs = json.loads(as_json)
    return Structure(declaration, arguments, inputs)
