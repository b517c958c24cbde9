"""The backbone classes of the modules that the user has named: `NetBackbone` is that of `net.py:Net`."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
from typing import Any

import keras

from vertebra import Backbone
from vertebra_torch_module import declared
from vertebra_torch_module.inputs import Input, inputs_as_json
from vertebra_torch_module.layer import TorchModule
from vertebra_torch_module.structure import structure_of

_PACKAGE = "vertebra_torch_module"


class TorchModuleBackbone(Backbone):
    """A torch module: with the arguments of its constructor, the inputs of its `forward`, and its outputs.

    Inputs by name are the arguments of `forward`. Outputs are in dicts and lists as `forward` returns them.

    Args:
        inputs: Shapes and dtypes of the inputs, as for `vertebra_torch_module.add`; None for those of the module.

    Raises:
        TorchModuleError: the module cannot be computed, or its inputs are not known.
    """

    declaration: declared.Declaration
    lora_targets = ("all-linear",)

    def __init__(
        self,
        *args: Any,
        inputs: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        declaration = type(self).declaration
        try:
            bound = declaration.signature().bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{declaration.name}: {error}; by name it takes {declaration.signature()}") from None
        own = _defaults(declaration.signature()) | bound.arguments
        structure = structure_of(declaration, own, inputs)
        shapes = inputs_as_json(structure.inputs)
        tensors = _symbolic(structure.inputs)
        layer = TorchModule(type(self).__name__, own, shapes, dtype=dtype, name="module")
        super().__init__(
            inputs=tensors,
            outputs=layer(tensors),
            arguments=own | {"inputs": shapes},
            dtype=dtype,
            trainable=trainable,
            name=name,
        )


def _defaults(signature: inspect.Signature) -> dict[str, Any]:
    """Returns the defaults that a config can hold, so that a later change of one does not change saved presets."""
    defaults = {}
    for name, parameter in signature.parameters.items():
        with contextlib.suppress(TypeError, ValueError):
            json.dumps(parameter.default, allow_nan=False)  # an instance of a class cannot be in a config
            defaults[name] = parameter.default
    return defaults


def _symbolic(inputs: Any) -> Any:
    if isinstance(inputs, Input):
        return keras.Input(inputs.shape, dtype=inputs.dtype, name="inputs")
    return {name: keras.Input(one.shape, dtype=one.dtype, name=name) for name, one in inputs.items()}


def __getattr__(name: str) -> type[TorchModuleBackbone]:
    if not name.endswith("Backbone"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _class_of(declared.declaration(name))


@functools.cache
def _class_of(declaration: declared.Declaration) -> type[TorchModuleBackbone]:
    def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
        TorchModuleBackbone.__init__(self, *args, **kwargs)

    constructor.__signature__ = _signature(declaration)  # type: ignore[attr-defined]
    documentation = inspect.getdoc(declaration.module_class())
    members = {"__init__": constructor, "declaration": declaration, "__doc__": documentation, "__module__": __name__}
    made = type(declaration.name, (TorchModuleBackbone,), members)
    return keras.saving.register_keras_serializable(_PACKAGE)(made)


def _signature(declaration: declared.Declaration) -> inspect.Signature:
    """Returns the signature of the class's constructor: that of the module's, and the arguments of every backbone."""
    own = [one.replace(annotation=one.empty) for one in declaration.signature().parameters.values()]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in (("inputs", None), ("dtype", None), ("trainable", True), ("name", None))
    ]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([itself, *own, *shared])
