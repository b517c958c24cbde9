"""Adds a torch module to this process as a class of backbones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import vertebra
from vertebra import BackboneSpec, hookimpl
from vertebra_torch_module.declared import Declaration, declare
from vertebra_torch_module.specs import spec


def add(
    module: str | Callable[..., Any],
    *,
    inputs: Mapping[str, Any] | tuple[Any, str] | None = None,
    name: str | None = None,
    keep: tuple[str, ...] = (),
) -> Any:
    """Makes a class of backbones of a torch module: `net.py:Net` becomes `vertebra.models.NetBackbone`.

    The class takes the arguments of the module's constructor. It has Vertebra's presets, LoRA on the module's linear
    layers, quantisation and the rest, on the torch runtime.

    Args:
        module: The file and the class, as `net.py:Net`; a Python module and the class, as `package.net:Net`; or the
            class. A function that returns a module will do, too. Its arguments must be JSON values.
        inputs: Shape, without rows, and dtype of each argument of `forward` by name, such as
            `{"token_ids": ((None,), "int32")}`, with None for sizes that vary; or only the shape and dtype of a single
            input: `((3, None, None), "float32")`. None means the attribute `vertebra_inputs` of the class.
        name: Name of the class; None derives it from that of the module.
        keep: Globs of linear layers, by torch's names, that remain torch's own: without LoRA and quantisation. Layers
            whose weights the module reads, where it does not call the layer, are found without it.

    Returns:
        The class, which `vertebra.models` has, too.

    Raises:
        TorchModuleError: the reference has another form.
        PluginError: another plugin has a class of this name.
    """
    declaration = declare(module, inputs, name, tuple(keep))
    vertebra.add_plugin(_Plugin(declaration), f"torch-module {declaration.name}", replace=True)
    return getattr(vertebra.models, declaration.name)


class _Plugin:
    """The plugin of one module."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration

    @hookimpl
    def vertebra_backbones(self) -> list[BackboneSpec]:
        return [spec(self._declaration.name, self._declaration.identifier)]
