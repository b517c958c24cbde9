"""The base: a model as it is without adapters, and which parts of it train."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from vertebra._weights.naming import layer_paths, weight_names


class Base:
    """A model's own layers and weights; make it while the model has no adapter."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers = layer_paths(model)
        """Every layer with weights, by path."""
        self.weights = weight_names(model)
        """Every weight, by name."""
        layers = [(layer, list(layer._flatten_layers(include_self=False))) for layer in model._flatten_layers()]
        self._leaves = {id(layer) for layer, inner in layers if not inner}
        self._layer_flags = [(layer, layer._trainable) for layer, _ in layers]
        self._weight_flags = [(weight, weight.trainable) for weight in model.weights]

    # Keras's setter of a layer's `trainable` visits everything below it; these visit each layer and weight once.

    def freeze(self, adapted: Collection[str]) -> None:
        """Makes no weight of the base train; layers that hold others, or adapters, stay open for these."""
        open_layers = {id(self.layers[path]) for path in adapted}
        for layer, _ in self._layer_flags:
            # Some layers behave otherwise when frozen, such as BatchNormalization.
            layer._trainable = id(layer) not in self._leaves or id(layer) in open_layers
        for weight, _ in self._weight_flags:
            if weight.trainable:
                weight.trainable = False

    def unfreeze(self, names: Iterable[str]) -> None:
        """Makes some weights train, too."""
        for name in names:
            self.layers[name.rpartition("/")[0]]._trainable = True
            self.weights[name].trainable = True

    def trained(self) -> list[str]:
        """Returns the names of the weights that train."""
        return [name for name, weight in self.weights.items() if weight.trainable]

    def restore(self) -> None:
        """Makes the same layers and weights train as in the beginning."""
        for owner, flag in self._layer_flags:
            owner._trainable = flag
        for weight, flag in self._weight_flags:
            weight.trainable = flag
