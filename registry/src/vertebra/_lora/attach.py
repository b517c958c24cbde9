"""Attaching: gives layers a low-rank path beside their own kernel, without replacing the layer objects."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras

from vertebra._catalog import STRATEGIES, catalog
from vertebra._lora.sites import site_of
from vertebra._weights.abstract import finish
from vertebra._weights.naming import own_weights, weight_names
from vertebra.errors import LoraStateError, LoraTargetError
from vertebra.interfaces import LoraSite, LoraStrategy
from vertebra.specs import LoraConfig, LoraReceipt

ADAPTER = "lora"


class LoraAdapter(keras.layers.Layer):  # type: ignore[misc]
    """The low-rank path of one layer, held by that layer."""

    def __init__(self, strategy: LoraStrategy, site: LoraSite, config: LoraConfig, dtype: str) -> None:
        super().__init__(name=ADAPTER, dtype=dtype)
        self.strategy, self.site, self.config = strategy, site, config
        self.build()

    def build(self) -> None:
        self.strategy.build(self, self.site, self.config)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.strategy.delta(self, self.site, self.config, inputs, bool(training))


@dataclass(frozen=True, slots=True)
class Attached:
    """The adapters of a model, by path of the layer that holds each."""

    config: LoraConfig
    adapters: dict[str, LoraAdapter]
    base: str | None = None
    """Fingerprint of the base weights as they were when the adapters were attached."""

    def plan(self, model: Any) -> dict[str, Any]:
        """Returns plain data from which `Backbone.from_config` builds the same adapters, without their values."""
        config = {name: getattr(self.config, name) for name in self.config.__slots__}
        trained = [name for name, weight in weight_names(model).items() if weight.trainable and not self.holds(weight)]
        return {"config": config, "layers": list(self.adapters), "base": self.base, "trained": trained}

    def holds(self, weight: Any) -> bool:
        """Says whether a weight is one of the adapters'."""
        return any(weight is own for adapter in self.adapters.values() for own in adapter.weights)


def prepare(targets: Mapping[str, Any], config: LoraConfig) -> Attached:
    """Builds an adapter for each target layer, and leaves the layers as they are.

    Raises:
        UnknownNameError: no plugin provides the strategy.
        LoraTargetError: a layer cannot be seen as one linear map, or its kernel is smaller than the rank.
        LoraStateError: a layer already has an adapter.
    """
    strategy = catalog(STRATEGIES).lookup(config.strategy).value
    return Attached(config, {path: _adapter(path, layer, strategy, config) for path, layer in targets.items()})


def attach(model: Any, targets: Mapping[str, Any], attached: Attached) -> None:
    """Gives each target layer its adapter."""
    for path, layer in targets.items():
        _hold(layer, attached.adapters[path])
    for layer in model._flatten_layers():
        if isinstance(layer, keras.Model):  # what was compiled knows nothing of the adapters
            layer.train_function = layer.test_function = layer.predict_function = None
        if layer is not model and _holds_adapter(layer):
            layer.get_config = _refuse_config
    finish(model)


def freeze(model: Any, attached: Attached) -> LoraReceipt:
    """Makes the adapters the only thing that trains."""
    model.trainable = True  # a layer that is frozen as a whole would hide its adapter
    trained = {id(variable) for adapter in attached.adapters.values() for variable in adapter.trainable_weights}
    for layer in model._flatten_layers(include_self=False):
        if not list(layer._flatten_layers(include_self=False)) and not isinstance(layer, LoraAdapter):
            layer.trainable = False  # some layers behave otherwise when frozen, such as BatchNormalization
    for variable in model.weights:
        if variable.trainable != (id(variable) in trained):
            variable.trainable = id(variable) in trained
    return receipt(model, attached)


def unfreeze(model: Any, variables: Iterable[Any]) -> None:
    """Makes some base weights train, too, and no others of the layers that hold them."""
    wanted = {id(variable) for variable in variables}
    for layer in model._flatten_layers(include_self=False):
        own = own_weights(layer)
        trained = {id(variable) for variable in own if id(variable) in wanted or variable.trainable}
        if trained & wanted:
            if not layer.trainable:
                layer.trainable = True  # of all its weights, at first
            for variable in own:
                variable.trainable = id(variable) in trained


def receipt(model: Any, attached: Attached) -> LoraReceipt:
    """Counts what is attached, trained and frozen now."""
    added = [variable for adapter in attached.adapters.values() for variable in adapter.weights]
    return LoraReceipt(
        config=attached.config,
        layers=tuple(attached.adapters),
        parameters_added=_count(added),
        parameters_trained=_count(model.trainable_weights),
        parameters_frozen=_count(model.weights) - _count(model.trainable_weights),
    )


def _adapter(path: str, layer: Any, strategy: LoraStrategy, config: LoraConfig) -> LoraAdapter:
    if hasattr(layer, ADAPTER):
        raise LoraStateError(f"Layer {path!r} already has an adapter", "Load the preset anew to start over")
    try:
        site = site_of(layer)
    except ValueError as error:
        raise LoraTargetError(path, str(error), []) from error
    smallest = min(site.in_features, site.out_features)
    if config.rank > smallest:
        raise LoraTargetError(path, f"rank {config.rank} exceeds its smaller dimension, {smallest}", [])
    parent, _, name = path.rpartition("/")
    with keras.name_scope(name, override_parent=parent):  # optimisers and torch tell variables apart by path
        return LoraAdapter(strategy, site, replace(config, seed=_seed(path, config)), _policy(layer))


def _seed(path: str, config: LoraConfig) -> int | None:
    """Layers must not start from the same values, whatever the seed. Keras keeps seeds as int32."""
    return None if config.seed is None else zlib.crc32(f"{config.seed} {path}".encode()) % 2**31


def _policy(layer: Any) -> str:
    """Adapters of half-precision layers compute as the layer does, and train in float32 as optimisers expect."""
    return f"mixed_{layer.compute_dtype}" if layer.compute_dtype in ("bfloat16", "float16") else layer.compute_dtype


def _hold(layer: Any, adapter: LoraAdapter) -> None:
    layer._tracker.unlock()
    setattr(layer, ADAPTER, adapter)
    layer._tracker.lock()
    activation, original = getattr(layer, "activation", None), layer.call
    if activation is not None:
        layer.activation = None  # the low-rank path joins before the activation

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = original(inputs, *args, **kwargs)
        if kwargs.get("reverse"):  # a tied embedding used as output projection is not adapted, as in PEFT
            return outputs
        outputs = outputs + adapter(inputs)
        return outputs if activation is None else activation(outputs)

    layer.call = call


def _holds_adapter(layer: Any) -> bool:
    return any(isinstance(inner, LoraAdapter) for inner in layer._flatten_layers(include_self=False))


def _refuse_config() -> dict[str, Any]:
    """A layer's config cannot hold its adapter, and a copy without it would silently lose what was trained."""
    raise LoraStateError(
        "This model holds, layer by layer, a backbone with a LoRA adapter, which a .keras file cannot keep",
        "Call the backbone as one layer of your model, backbone(inputs), or use backbone.save_lora_weights(...)",
    )


def _count(variables: list[Any]) -> int:
    total = 0
    for variable in variables:
        size = 1
        for length in variable.shape:
            size *= length
        total += size
    return total
