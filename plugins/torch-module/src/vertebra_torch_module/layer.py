"""`TorchModule`: a torch module as a Keras layer, whose weights are Keras's variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import torch
from torch import nn

from vertebra.errors import LoraStateError
from vertebra_torch_module import declared
from vertebra_torch_module.binding import AdaptableLinear, bound, move_constants
from vertebra_torch_module.inputs import Input, call, plain
from vertebra_torch_module.skeleton import Linear, Slot
from vertebra_torch_module.structure import Structure, structure_of
from vertebra_torch_module.tracing import Output


@keras.saving.register_keras_serializable("vertebra_torch_module")
class TorchModule(keras.layers.Layer):
    """A torch module that the user has named, with a `Dense` layer for each linear layer that can be adapted.

    Layers and weights have the names that they have in the module: `encoder.layers.0.fc1.weight` is
    `encoder/layers/0/fc1/kernel`, transposed. Weights begin with the values of the module's constructor.

    Args:
        module: Name of the backbone's class.
        arguments: Arguments of the module's constructor.
        inputs: Shapes and dtypes of the inputs, as in a config; None for those of the module.
        **kwargs: `name`, `dtype` and `trainable`, as of any layer.

    Raises:
        TorchModuleError: the user has named no such module, or it cannot be computed.
    """

    def __init__(self, module: str, arguments: Mapping[str, Any], inputs: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._config = {"module": module, "arguments": dict(arguments), "inputs": inputs}
        structure = structure_of(declared.declaration(module), arguments, inputs)
        self._structure = _Untracked(structure)
        values = _Values(structure)
        self.branches: dict[str, Branch] = {}
        dense = {one: self._add_dense(one, values) for one in structure.linears}
        variables = {slot: self._add_variable(slot, values) for slot in structure.slots}
        values.drop()
        self._calls = _Untracked(
            tuple(self._bound(structure, dense, variables, training) for training in (False, True))
        )
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Computes the module: in its training mode if `training`."""
        outputs = call(self._calls.value[bool(training)], inputs)
        return plain(outputs, self._structure.value.reference)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the symbolic outputs: the module is called without values."""
        structure: Structure = self._structure.value
        shapes = keras.tree.map_structure(lambda tensor: Input(tuple(tensor.shape[1:]), tensor.dtype), inputs)
        dtypes = (getattr(torch, self.variable_dtype), getattr(torch, self.compute_dtype))
        outputs = structure.outputs(shapes, dtypes)
        return keras.tree.map_structure(_symbolic, outputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the name of the module and its arguments, no code."""
        return {**super().get_config(), **keras.tree.map_structure(lambda value: value, dict(self._config))}

    # === Weights ===

    def _add_dense(self, linear: Linear, values: _Values) -> Any:
        owner, name = self._owner(linear.name)
        dense = keras.layers.Dense(
            linear.layer.out_features,
            use_bias=linear.layer.bias is not None,
            kernel_initializer=values.initializer(f"{linear.name}.weight", transpose=True),
            bias_initializer=values.initializer(f"{linear.name}.bias"),
            dtype=self.dtype_policy,
            name=name,
        )
        owner.branches[name] = dense
        dense.build((None, linear.layer.in_features))
        dense.kernel.trainable = linear.layer.weight.requires_grad
        if dense.bias is not None:
            dense.bias.trainable = linear.layer.bias.requires_grad
        return dense

    def _add_variable(self, slot: Slot, values: _Values) -> Any:
        owner, name = self._owner(slot.name)
        dtype = None if slot.value.is_floating_point() else str(slot.value.dtype).removeprefix("torch.")
        return owner.add_weight(
            name=name,
            shape=tuple(slot.value.shape),
            dtype=dtype,
            initializer=values.initializer(slot.name),
            trainable=slot.value.requires_grad and not slot.is_buffer,
            autocast=slot.is_cast,
        )

    def _owner(self, name: str) -> tuple[Any, str]:
        """Returns the layer that has a tensor or a linear layer, and the last part of its name."""
        path, _, last = name.rpartition(".")
        owner: Any = self
        for part in filter(None, path.split(".")):
            if part not in owner.branches:
                owner.branches[part] = Branch(name=part, dtype=self.dtype_policy)
            owner = owner.branches[part]
        return owner, last

    # === The module ===

    def _bound(
        self, structure: Structure, dense: Mapping[Linear, Any], variables: Mapping[Slot, Any], training: bool
    ) -> nn.Module:
        linears = {
            name: AdaptableLinear(one, layer, _refusal(structure.reference, one.name))
            for one, layer in dense.items()
            for name in one.names
        }
        tensors = {slot: _reader(variable) for slot, variable in variables.items()}
        owners = {name: self._owner(slot.name)[0] for slot in variables for name in slot.names}
        layers = {name.rpartition(".")[0]: owner for name, owner in owners.items()}
        module = bound(
            structure.skeleton,
            tensors,
            linears,
            lambda slot, value: variables[slot].assign(value),
            lambda path: bool(layers[path].trainable),
        )
        move_constants(module, keras.ops.convert_to_tensor(0).device, getattr(torch, self.compute_dtype))
        return module.train(training)


@keras.saving.register_keras_serializable("vertebra_torch_module")
class Branch(keras.layers.Layer):
    """The weights and layers of a module within a module; nothing calls it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branches: dict[str, Any] = {}
        self.built = True


class _Untracked:
    """An object that Keras and torch are not to take for a part of the layer."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Values:
    """The values with which the module's constructor begins; the module is only made if one is needed."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._tensors: dict[str, torch.Tensor] = {}

    def initializer(self, name: str, *, transpose: bool = False) -> Callable[..., Any]:
        """Returns a Keras initialiser for a tensor."""

        def value(shape: Any, dtype: Any = None) -> Any:  # noqa: ARG001 (the shape is the tensor's)
            if not self._tensors:
                module = self._structure.initial_module()
                named = (
                    *module.named_parameters(remove_duplicate=False),
                    *module.named_buffers(remove_duplicate=False),
                )
                self._tensors = {name: tensor.detach().cpu() for name, tensor in named}
            tensor = self._tensors[name].t() if transpose else self._tensors[name]
            return keras.ops.convert_to_tensor(tensor.clone(memory_format=torch.contiguous_format), dtype=dtype)

        return value

    def drop(self) -> None:
        """Releases the values."""
        self._tensors = {}


def _reader(variable: Any) -> Callable[[], torch.Tensor]:
    return lambda: variable.value


def _refusal(reference: str, name: str) -> Callable[[], Any]:
    def refuse() -> Any:
        problem = f"Torch module {reference}: it reads the weights of {name!r}, which it called when it was added"
        raise LoraStateError(problem, f"Leave the layer to torch, without LoRA: add(..., keep=({name!r},))")

    return refuse


def _symbolic(output: Output) -> Any:
    shape = (None, *output.shape[1:])
    return keras.KerasTensor(shape, dtype=keras.backend.standardize_dtype(output.dtype))
