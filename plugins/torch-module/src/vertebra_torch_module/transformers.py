"""Translations from and to checkpoints of torch: `config.json` with the constructor's arguments, and a state dict.

Without a `model_type`, that is what huggingface_hub's `PyTorchModelHubMixin` writes; the class of the call tells it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from vertebra import TensorRule, Translation
from vertebra_torch_module import declared

_INPUTS = "inputs"
_BASE = ("name", "trainable", "dtype", "lora", "quantized", _INPUTS)
"""Arguments and fields of every backbone, and the inputs, which are no arguments of the module."""
_FIELDS = {"model_type", "architectures", "transformers_version", "torch_dtype", *_BASE}
"""Fields of any config, which are no arguments of the module."""
_LAYER = "module"
"""Name of the Keras layer that has the module."""


class TorchModuleTranslation(Translation):
    """Reads and writes checkpoints of one module: fields of its config are arguments of the module's constructor."""

    declaration: declared.Declaration
    prefixes = ("", "module.", "model.", "_orig_mod.")
    """Those that DataParallel, training frameworks and `torch.compile` add."""
    ignored = ()

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        known = {*self.declaration.signature().parameters, _INPUTS}
        if self.declaration.takes_any():  # other fields would change the module; the class refuses them
            known |= config.keys() - _FIELDS
        return {name: value for name, value in config.items() if name in known}

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"model_type": self.declaration.identifier, **arguments}

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        structure_of = importlib.import_module("vertebra_torch_module.structure").structure_of  # which imports torch
        own = {name: value for name, value in arguments.items() if name not in _BASE}
        structure = structure_of(self.declaration, own, arguments.get(_INPUTS))
        rules = {_path(slot.name): _rule(slot.names) for slot in structure.slots}
        for linear in structure.linears:
            rules[_path(f"{linear.name}.kernel")] = _rule([f"{name}.weight" for name in linear.names], transpose=True)
            if linear.layer.bias is not None:
                rules[_path(f"{linear.name}.bias")] = _rule([f"{name}.bias" for name in linear.names])
        return rules


def _path(name: str) -> str:
    """Returns the name of a weight of the backbone, for one of the module."""
    return f"{_LAYER}/{name.replace('.', '/')}"


def _rule(names: Any, *, transpose: bool = False) -> TensorRule:
    first, *others = names
    return TensorRule(first, transpose=transpose, tied=others[0] if others else None)


def __getattr__(name: str) -> type[TorchModuleTranslation]:
    backbone = name.removesuffix("Translation")
    if backbone == name:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _translation_of(declared.declaration(backbone))


@functools.cache
def _translation_of(declaration: declared.Declaration) -> type[TorchModuleTranslation]:
    return type(f"{declaration.name}Translation", (TorchModuleTranslation,), {"declaration": declaration})
