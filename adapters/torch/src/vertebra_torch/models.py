"""The base class of backbones on PyTorch, which behaves as a `torch.nn.Module`."""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import keras
import torch

from vertebra import layers
from vertebra.errors import DtypeChangeError, ReplacedWeightsError

_KERAS_MODULE = "_torch_params"
"""Name of the module in which Keras registers the variables of a layer as parameters."""


class TorchModel(keras.Model):
    """A Keras model that works as a torch module: its modes, its state dict, and its dtype, which cannot be changed."""

    placement: Any = None
    """Where the weights are on a mesh, or None."""

    def train(self, mode: bool = True) -> Any:
        """Sets whether later calls apply dropout, unless they pass `training=` or are part of another Keras model.

        Without a call of this or `eval()`, dropout is off, as in Keras. Calls by Keras's `fit`, `evaluate` and
        `predict`, of this model or of a model that contains it, have no effect: these methods pass the mode to each
        call, and an interrupted `fit` would leave its mode behind.
        """
        if _keras_calls(sys._getframe(1)):
            return self
        result = super().train(mode)
        self.__dict__["_train_mode"] = mode
        return result

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        mode = self.__dict__.get("_train_mode")
        if mode is not None and kwargs.get("training") is None and _is_outermost(args, kwargs):
            kwargs["training"] = mode
        if self.placement is not None and not _is_symbolic(args, kwargs):
            return self._call_divided(args, kwargs)
        return super().__call__(*args, **kwargs)

    def _call_divided(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Computes the outputs of a backbone on a mesh: DTensors, or whole tensors for another Keras layer."""
        from vertebra_torch.meshes.calls import computing, distribute_rows, mesh_of, whole

        mesh = mesh_of(self)
        if mesh is None:
            return super().__call__(*args, **kwargs)
        is_inner = layers.is_calling()
        with computing(self, mesh):
            args, kwargs = distribute_rows(self.placement, mesh, (args, kwargs))
            outputs = super().__call__(*args, **kwargs)
        return whole(outputs) if is_inner else outputs

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs, with the tensors that torch's tools have registered in place of the weights."""
        with _registered_values(self):
            return super().forward(*args, **kwargs)

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Returns the weights by name, such as `transformer_layer_0.self_attention.query.kernel`, those of the active
        adapter included.

        The names are those of the layers; each weight is there once, and random seeds are not.
        """
        entries = super().state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)
        _rename(self, entries, prefix, keep_vars)
        return entries

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, metadata: Any, strict: bool, missing: Any, unexpected: Any, errors: Any
    ) -> None:
        """Implements `load_state_dict`, of this module or of one that contains it.

        Raises:
            LoraStateError: adapters are merged.
        """
        with self.replacing_weights():
            _load(self, state_dict, prefix, missing, errors)
            super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)

    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        """Returns the layers and Keras's other modules; torch's tools call this before they replace parameters."""
        _note_registered(self)
        return super().named_modules(*args, **kwargs)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Sets whether weights receive gradients: all that can, or with adapters those that train, as `trainable` does.

        Integers cannot: quantised kernels, and the states of random seeds, which Keras makes parameters, too.
        """
        parameters = [variable.value for variable in self.trainable_variables] if self.lora_adapters else None
        for parameter in self.parameters() if parameters is None or not requires_grad else parameters:
            if parameter.is_floating_point():
                parameter.requires_grad_(requires_grad)
        return self

    def get_parameter(self, target: str) -> torch.nn.Parameter:
        """Returns a weight by its name in the state dict, or a parameter by its name in `named_parameters`."""
        weight = _tensors_of(self).get(target)
        return super().get_parameter(target) if weight is None else weight

    def __getattr__(self, name: str) -> Any:
        """Returns the weights below a name that is no attribute: torch's tools look up the names of a state dict."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            below = (
                None if name.startswith("_") or not self.__dict__.get("built") else _below(self.named_weights(), name)
            )
            if below is None:
                raise
            return below

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        """Implements `to()`, `cuda()` and similar methods, but refuses changes of dtype, such as `half()`.

        Raises:
            DtypeChangeError: the dtype of parameters would change.
        """
        for dtype in {parameter.dtype for parameter in self.parameters() if parameter.is_floating_point()}:
            wanted = fn(torch.zeros((), dtype=dtype))
            if wanted.dtype != dtype:
                raise DtypeChangeError(type(self).__name__, _dtype_name(wanted), self.dtype_policy.name)
        return super()._apply(fn, recurse)


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _keras_calls(frame: FrameType | None) -> bool:
    """Returns whether Keras called `train` or `eval`, of this module or of one that contains it."""
    while frame is not None and frame.f_code.co_name in ("train", "eval"):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "keras"


def _is_outermost(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns whether a call computes values, and is not made by another Keras layer, which sets the mode itself."""
    return not layers.is_calling() and not _is_symbolic(args, kwargs)


def _is_symbolic(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten((args, kwargs)))


# === State dicts ===
#
# Keras registers each variable as a parameter of its layer and of the model, under names that number the random seeds
# of the process. So Keras's state dict of one backbone would not fit another one of the same class.


def _tensors_of(model: Any) -> dict[str, torch.nn.Parameter]:
    """Returns each weight of a backbone by its name, such as `transformer_layer_0.self_attention.query.kernel`."""
    replaced = {id(variable): tensor for variable, tensor in _replaced(model)}
    return {
        name.replace("/", "."): replaced.get(id(weight), weight.value) for name, weight in model.named_weights().items()
    }


class _Weights:
    """The weights whose names begin with a prefix, as attributes."""

    def __init__(self, weights: dict[str, Any], prefix: str) -> None:
        self._weights, self._prefix = weights, prefix

    def __getattr__(self, name: str) -> Any:
        below = _below(self._weights, self._prefix + name)
        if below is None:
            raise AttributeError(f"there are no weights {(self._prefix + name).replace('/', '.')!r}")
        return below


def _below(weights: dict[str, Any], name: str) -> Any:
    """Returns the tensor of a weight, or the weights below a name, or None; reads no other values."""
    if name in weights:
        return weights[name].value
    return _Weights(weights, f"{name}/") if any(other.startswith(f"{name}/") for other in weights) else None


def _rename(model: Any, states: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    """Replaces the entries that Keras's modules have made in a state dict by one entry for each weight."""
    for key, _ in _entries(model, prefix):
        states.pop(key, None)
    for name, tensor in _tensors_of(model).items():
        states[prefix + name] = tensor if keep_vars else tensor.detach()


def _load(model: Any, states: dict[str, Any], prefix: str, missing: list[str], errors: list[str]) -> None:
    """Takes the weights out of a state dict, copies their values, and leaves Keras's modules nothing else to load.

    Args:
        model: The backbone.
        states: The state dict; the entries of the modules below the backbone become their present values.
        prefix: Prefix of the backbone's names.
        missing: Gets the names of weights that the state dict lacks.
        errors: Gets a text for each weight of another shape.
    """
    for name, tensor in _tensors_of(model).items():
        found = states.pop(prefix + name, None)
        if found is None:
            missing.append(prefix + name)
        elif found.shape != tensor.shape:
            shapes = f"{tuple(found.shape)} in the state dict, and {tuple(tensor.shape)} in the model"
            errors.append(f"size mismatch for {prefix + name}: its shape is {shapes}.")
        elif found.is_floating_point() != tensor.is_floating_point():
            dtypes = f"{found.dtype} in the state dict, and {tensor.dtype} in the model"
            errors.append(f"dtype mismatch for {prefix + name}: its dtype is {dtypes}.")
        else:
            with torch.no_grad():
                tensor.copy_(found)
    states.update(_entries(model, prefix))


def _entries(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Returns the parameters of the modules below a backbone, under Keras's names, several of which may be the same."""
    known = {id(variable.value) for variable in model.variables} | {id(tensor) for _, tensor in _replaced(model)}
    for path, module in model.named_modules(prefix=prefix.removesuffix("."), remove_duplicate=False):
        own = torch.nn.Module.named_parameters(module, recurse=False, remove_duplicate=False)
        yield from ((f"{path}.{key}", tensor) for key, tensor in own if id(tensor) in known)


# === Replaced parameters ===
#
# FSDP's `fully_shard`, `torch.func.functional_call` and `torch.export` put other tensors in place of a module's
# parameters. Keras's layers compute with their variables, and would not notice.


class _Registered(NamedTuple):
    """The module with which a weight is registered as a parameter."""

    modules: dict[str, Any]
    """The modules of the layer; Keras's own has the layer's parameters."""
    key: str
    """The weight's name in that module."""
    variable: weakref.ref[Any]
    value: weakref.ref[Any]
    """The tensor of the variable, which is in use while it is the parameter."""

    def tensor(self) -> Any:
        """Returns the parameter, or None if the module has no such parameter any more."""
        return self.modules[_KERAS_MODULE]._parameters.get(self.key)


def require_own_values(model: Any) -> None:
    """Raises ReplacedWeightsError if torch's tools hold the weights of a model in tensors of their own."""
    if _replaced(model):
        raise ReplacedWeightsError(type(model).__name__)


def _note_registered(model: Any) -> None:
    """Notes where each weight is a parameter, before tools replace it; notes about replaced ones stay."""
    variables = {id(variable): variable for variable in model.variables}
    noted = model.__dict__.get("_registered", {})
    known = {identity: entry for identity, entry in noted.items() if entry.variable() is variables.get(identity)}
    if known.keys() != variables.keys():
        model.__dict__["_registered"] = _registered(model) | known


def _registered(model: Any) -> dict[int, _Registered]:
    """Returns where the innermost layer of each variable has it as a parameter, by the variable's identity."""
    entries: dict[int, _Registered] = {}
    for _, module in torch.nn.Module.named_modules(model):
        if not isinstance(module, keras.layers.Layer):
            continue
        parameters = module.torch_params  # Keras makes the module when it is needed, and tools expect no new ones
        for variable in module.variables:
            if parameters.get(variable.path) is variable.value:
                refs = weakref.ref(variable), weakref.ref(variable.value)
                entries[id(variable)] = _Registered(module._modules, variable.path, *refs)
    return entries


def _replaced(model: Any) -> list[tuple[Any, torch.Tensor]]:
    """Returns the variables in whose place torch's tools have registered another tensor, with the tensor."""
    noted = model.__dict__.get("_registered", {}).values()
    found = [(entry.variable(), tensor) for entry in noted if (tensor := entry.tensor()) is not entry.value()]
    if not found:
        return []
    own = {id(variable) for variable in model.variables}
    return [(variable, tensor) for variable, tensor in found if id(variable) in own and tensor is not None]


@contextlib.contextmanager
def _registered_values(model: Any) -> Iterator[None]:
    """Makes the variables of a model read the tensors that are registered in their place.

    Raises:
        DtypeChangeError: a tensor has another dtype than the weight, in which it would not be computed with.
    """
    replaced = _replaced(model)
    if not replaced:
        yield
        return
    for variable, tensor in replaced:
        if tensor.dtype != variable.value.dtype:
            raise DtypeChangeError(type(model).__name__, _dtype_name(tensor), model.dtype_policy.name)
    with keras.StatelessScope(replaced) as scope:
        yield
    weights = {id(variable) for variable, _ in replaced}
    for variable in model.variables:  # such as the states of random seeds
        value = None if id(variable) in weights else scope.get_current_value(variable)
        if value is not None:
            variable.assign(value)
