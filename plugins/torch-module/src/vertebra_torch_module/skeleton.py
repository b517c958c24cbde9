"""The skeleton of a torch module: the module itself, with parameters that have a shape and a dtype, but no values."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import CellType, FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook as on_registration

from vertebra_torch_module.errors import TorchModuleError

WITH_STATISTICS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)
"""Layers whose parameters and statistics torch wants in one dtype."""
_REGISTERED = ("_parameters", "_buffers", "_modules", "_flat_weights")
"""The attributes in which torch has the parameters, buffers and modules of a module."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""The dicts of a module's hooks, for which torch has no public name."""


@dataclass(frozen=True, eq=False)
class Slot:
    """A parameter of a module, or a buffer that its checkpoints have."""

    names: tuple[str, ...]
    """Its names in the module; more than one if it is tied."""
    value: torch.Tensor
    """A tensor of its shape and dtype; a buffer's has its initial value."""
    is_buffer: bool
    is_cast: bool
    """Whether mixed precision casts it: torch wants the parameters and statistics of a batch in one dtype."""

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear layer of a module that can be adapted."""

    names: tuple[str, ...]
    """Its names in the module; more than one if the module has it in several attributes."""
    layer: nn.Linear

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]


def skeleton_of(make: Callable[[], nn.Module], reference: str) -> nn.Module:
    """Returns a new module whose parameters have no values; its buffers have theirs.

    torch's random state does not change.

    Raises:
        TorchModuleError: the constructor fails, the object is no module, or a parameter has no shape yet, or complex
            values.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            module = _made_without_values(make)
        except Exception as error:  # of the user's code
            line = next(iter(str(error).splitlines()), "")
            problem = f"its constructor failed with these arguments ({type(error).__name__}: {line})"
            raise TorchModuleError(reference, problem, "Correct the arguments, or the code") from error
    if not isinstance(module, nn.Module):
        problem = f"it returned an object of the type {type(module).__name__}, and no module"
        raise TorchModuleError(reference, problem, "Name a class or function that makes a torch.nn.Module")
    _check(module, reference)
    valueless = {id(parameter): _valueless(parameter) for parameter in module.parameters()}  # tied ones remain tied
    for owner in module.modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            if not parameter.is_meta:
                setattr(owner, name, valueless[id(parameter)])
    return module


def slots_of(module: nn.Module) -> list[Slot]:
    """Returns the parameters and persistent buffers of a skeleton, in the module's order."""
    owners = dict(module.named_modules(remove_duplicate=False))
    persistent = module.state_dict(keep_vars=True).keys()
    found: dict[int, Slot] = {}
    for is_buffer, named in ((False, module.named_parameters), (True, module.named_buffers)):
        for name, tensor in named(remove_duplicate=False):
            if name in persistent:
                names = (*found[id(tensor)].names, name) if id(tensor) in found else (name,)
                owner = owners[name.rpartition(".")[0]]
                is_cast = not is_buffer and not isinstance(owner, WITH_STATISTICS) and tensor.is_floating_point()
                found[id(tensor)] = Slot(names, tensor, is_buffer, is_cast)
    return list(found.values())


def linears_of(module: nn.Module, keep: Iterable[str] = ()) -> list[Linear]:
    """Returns the linear layers of a skeleton that nothing but their call uses, as far as the structure tells.

    Args:
        module: The skeleton.
        keep: Globs of names of layers to leave out.
    """
    names: dict[int, list[str]] = defaultdict(list)
    layers: dict[int, nn.Linear] = {}
    for name, layer in module.named_modules(remove_duplicate=False):
        if name and type(layer) is nn.Linear and not _has_hooks(layer):
            names[id(layer)].append(name)
            layers[id(layer)] = layer
    owned = [slot for slot in slots_of(module) if len(slot.names) > 1]
    tied = {name.rpartition(".")[0] for slot in owned for name in slot.names}
    found = [Linear(tuple(names[identity]), layer) for identity, layer in layers.items()]
    return [
        one
        for one in found
        if (len(one.names) > 1 or one.name not in tied) and not any(fnmatchcase(one.name, glob) for glob in keep)
    ]


def _made_without_values(make: Callable[[], nn.Module]) -> nn.Module:
    try:
        with _without_values():
            return make()
    except (RuntimeError, NotImplementedError):  # the constructor computes with values of parameters
        return make()


@contextlib.contextmanager
def _without_values() -> Iterator[None]:
    """Takes the values from each parameter that this thread's modules register within the block."""
    thread = threading.get_ident()

    def hook(_: nn.Module, __: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if threading.get_ident() != thread or parameter is None or parameter.is_meta:
            return None  # which keeps it
        return parameter if isinstance(parameter, nn.parameter.UninitializedParameter) else _valueless(parameter)

    handle = on_registration(hook)
    try:
        yield
    finally:
        handle.remove()


def _valueless(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)


def _check(module: nn.Module, reference: str) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
            problem = f"its parameter {name} has no shape before the first call"
            raise TorchModuleError(reference, problem, "Use layers with sizes, such as Linear for LazyLinear")
        if "/" in name:
            problem = f"its tensor {name} has a slash in its name, which separates layers in presets"
            raise TorchModuleError(reference, problem, "Choose other keys in ModuleDict and ParameterDict")
        if tensor.is_complex():
            problem = f"its tensor {name} has complex numbers, which Keras does not store"
            raise TorchModuleError(reference, problem, "Store the real and the imaginary parts (torch.view_as_real)")
    _check_attributes(module, reference)


def _check_attributes(module: nn.Module, reference: str) -> None:
    """Raises an error for an attribute with parameters that neither training nor checkpoints would reach."""
    modules = set(module.modules())
    for path, owner in module.named_modules():
        for attribute, value in vars(owner).items():
            found = [] if attribute in _REGISTERED else _flat(value)
            problem = f"its attribute {path}.{attribute}".replace(" .", " ")
            if any(isinstance(one, nn.Parameter) for one in found) or any(
                isinstance(one, nn.Module) and one not in modules for one in found
            ):
                remedy = "Use nn.ParameterList, nn.ParameterDict, nn.ModuleList or nn.ModuleDict"
                raise TorchModuleError(reference, f"{problem} has parameters that torch does not register", remedy)
            if any(_uses(one, modules) for one in found):
                raise TorchModuleError(
                    reference, f"{problem} is a function that uses the module", "Write it as a method"
                )
            if any(isinstance(one, torch.Tensor) and not one.is_leaf for one in found):
                remedy = "Compute it in forward, or use torch.nn.utils.parametrizations for weight_norm and prune"
                raise TorchModuleError(reference, f"{problem} was computed from parameters in the constructor", remedy)


def _flat(value: Any) -> list[Any]:
    """Returns the objects in an attribute, and in lists and dicts in it."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return [inner for one in value for inner in _flat(one)] if isinstance(value, list | tuple) else [value]


def _uses(value: Any, modules: Collection[nn.Module]) -> bool:
    """Says whether a function has modules or parameters in its closure or defaults: no copy of it would have others."""
    if not isinstance(value, FunctionType):
        return False
    cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]  # which is an empty one
    defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    return any(
        isinstance(one, nn.Parameter) or (isinstance(one, nn.Module) and one in modules)
        for one in _flat([*cells, *defaults])
    )


def _has_hooks(layer: nn.Module) -> bool:
    return any(vars(layer)[name] for name in _HOOKS)
