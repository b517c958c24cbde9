"""KerasHub's backbone classes as classes of Vertebra: `KerasHubLlama3Backbone` is its `Llama3Backbone`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import keras
import keras_hub
import numpy as np

from vertebra import Backbone, TensorRule, wrapping
from vertebra_kerashub.configs import check_config, has_objects
from vertebra_kerashub.installed import backbone_classes
from vertebra_kerashub.targets import default_targets, roles

_PREFIX = "KerasHub"
_BASE = ("dtype", "trainable", "name")
_PIXELS = 64
"""Height and width of sample images of any size."""
_SAMPLES = 4096
"""Length of sample sounds of any length."""
_PLAIN = (str, int, float, bool, type(None), keras.layers.Layer, keras.KerasTensor)


class KerasHubBackbone(Backbone):
    """A backbone class of KerasHub, with its constructor arguments, inputs, outputs and attributes.

    The model has the layers of a model of KerasHub's class. Layers without a name have one that depends on the model
    alone, so that files fit in every process.
    """

    kerashub_class: Any
    """KerasHub's class."""

    def __init__(
        self, *args: Any, dtype: Any = None, trainable: bool = True, name: str | None = None, **kwargs: Any
    ) -> None:
        kind = type(self).kerashub_class
        policy = dtype.name if type(dtype) is keras.DTypePolicy else dtype  # Moonshine needs a dtype with a hash
        given = _bound(kind, args, kwargs)
        made = _made(kind, given | ({} if policy is None else {"dtype": policy}))
        wrapping.name_layers(made)
        complete = _simple(_defaults(kind) | given) | made.get_config()
        config = {key: _as_json(value) for key, value in complete.items() if key not in _BASE}
        super().__init__(
            inputs=made.input, outputs=made.output, arguments=config, dtype=dtype, trainable=trainable, name=name
        )
        self._hold(made)
        self.lora_roles = roles(self.named_weights())
        targets = default_targets(self.named_weights(), made.default_lora_layer_names())
        if targets:
            self.lora_targets = targets

    def _hold(self, made: Any) -> None:
        """Takes over the attributes of KerasHub's model, but for lists of the config, which are tuples there or lists.

        Layers outside the model's graph have weights, too.
        """
        self.token_embedding = made.token_embedding
        for name, value in vars(made).items():
            is_property = isinstance(getattr(type(self), name, None), property)
            is_of_keras = name.startswith("_") or name in _BASE or name in dir(keras.Model)
            is_list = isinstance(value, list | tuple) and self.get_config().get(name) == _as_json(value)
            if not is_of_keras and not is_property and not is_list and _is_plain(value):
                setattr(self, name, value)

    def sample_inputs(self) -> Any:
        """Returns a small fixed input; images of any size have 64 × 64 pixels, and sound has 4,096 samples."""

        def sized(sample: Any, tensor: Any) -> Any:
            size = _PIXELS if len(tensor.shape) == 4 else _SAMPLES if tensor.shape[2:] == (1,) else None
            if size is None or None not in tensor.shape[1:] or "float" not in str(sample.dtype):
                return sample
            shape = [length or size for length in tensor.shape[1:]]
            return np.cos(np.arange(2 * np.prod(shape))).reshape(2, *shape).astype(sample.dtype)

        return keras.tree.map_structure(sized, super().sample_inputs(), self.input)


def weight_rules(name: str, config: Mapping[str, Any]) -> dict[str, TensorRule]:
    """Returns the rule of each weight of a class of KerasHub, with its name in KerasHub's files."""
    kind = getattr(keras_hub.models, name)

    def build() -> Any:
        made = _made(kind, dict(config))
        wrapping.name_layers(made)
        return made

    return wrapping.weight_rules(build)


def _made(kind: Any, given: dict[str, Any]) -> Any:
    """Builds a model of KerasHub from the constructor's arguments, of which some may be configs of objects."""
    if not has_objects(given):
        return kind(**given)
    check_config(kind.__name__, {name: value for name, value in given.items() if name != "dtype"})
    return kind.from_config(given)


def _bound(kind: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call by name."""
    bound = inspect.signature(kind).bind_partial(*args, **kwargs)
    arguments = dict(bound.arguments)
    return {**arguments.pop("kwargs", {}), **arguments}


def _defaults(kind: Any) -> dict[str, Any]:
    return {name: one.default for name, one in inspect.signature(kind).parameters.items()}


def _simple(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arguments without objects. Of some classes, `get_config` lacks arguments, such as Llama's tied table."""
    return {name: value for name, value in arguments.items() if isinstance(value, str | int | float | None)}


def _as_json(value: Any) -> Any:
    """Returns an argument as a JSON file has it: with lists for tuples."""
    if isinstance(value, dict):
        return {name: _as_json(inner) for name, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def _is_plain(value: Any) -> bool:
    """Says whether a value is a layer, a tensor of the graph, a number or a text, or a container of such values."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return all(map(_is_plain, value)) if isinstance(value, list | tuple) else isinstance(value, _PLAIN)


@functools.cache
def __getattr__(name: str) -> type[KerasHubBackbone]:
    wrapped = name.removeprefix(_PREFIX)
    if wrapped == name or wrapped not in backbone_classes():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kind = getattr(keras_hub.models, wrapped)

    def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
        KerasHubBackbone.__init__(self, *args, **kwargs)

    constructor.__signature__ = _signature(kind)  # type: ignore[attr-defined]
    members = {"__init__": constructor, "kerashub_class": kind, "__doc__": kind.__doc__, "__module__": __name__}
    made = type(name, (KerasHubBackbone,), members)
    return keras.saving.register_keras_serializable("vertebra_kerashub")(made)


def _signature(kind: Any) -> inspect.Signature:
    """Returns the signature of a class's constructor, with `self`."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return inspect.Signature([one.replace(annotation=inspect.Parameter.empty) for one in parameters])
