"""The base model: a model without its adapters, and which of its weights train."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from vertebra._keras.internals import all_layers, set_trainable
from vertebra._lora.layers.freeze_guard import NAME, FreezeGuard
from vertebra._lora.layers.layer_hooks import hold, release
from vertebra._weights.layer_paths import layer_paths, own_weights, weights_in


@dataclass(frozen=True, slots=True)
class Flags:
    """Which layers and weights train."""

    layers: tuple[tuple[Any, bool], ...]
    weights: tuple[tuple[Any, bool], ...]

    def restore(self) -> None:
        """Sets the recorded flags."""
        for layer, flag in self.layers:
            set_trainable(layer, flag)
        for weight, flag in self.weights:
            if weight.trainable != flag:
                weight.trainable = flag


class BaseModel:
    """A model's own layers and weights; construct it while the model has no adapter."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers = layer_paths(model)
        """Every layer with weights, by path."""
        self.weights = weights_in(self.layers)
        """Every weight, by name."""
        inner = {layer: all_layers(layer, include_self=False) for layer in all_layers(model)}
        self._leaves = {id(layer) for layer, below in inner.items() if not below}
        self._all_layers = tuple(inner)
        self._first = self.flags()
        self._guards: dict[str, FreezeGuard] = {}
        """The guards of frozen weights, by path of the layer that holds them."""

    def flags(self) -> Flags:
        """Returns the current trainable flags of layers and weights."""
        weights = tuple((weight, weight.trainable) for weight in self.weights.values())
        return Flags(tuple((layer, layer.trainable) for layer in self._all_layers), weights)

    def freeze(self, adapted: Collection[str]) -> None:
        """Freezes all base weights; layers that hold other layers or adapters stay trainable for the adapters' sake."""
        self._guard()
        open_layers = {id(self.layers[path]) for path in adapted}
        for layer in self._all_layers:
            # Some layers, such as BatchNormalization, behave differently when frozen.
            set_trainable(layer, id(layer) not in self._leaves or id(layer) in open_layers)
        for weight in self.weights.values():
            if weight.trainable:
                weight.trainable = False
        self._remember()

    def unfreeze(self, names: Iterable[str]) -> None:
        """Makes the named weights trainable."""
        for name in names:
            set_trainable(self.layers[name.rpartition("/")[0]], True)
            self.weights[name].trainable = True
        self._remember()

    def trained(self) -> list[str]:
        """Returns the names of the trainable weights."""
        return [name for name, weight in self.weights.items() if weight.trainable]

    def restore(self) -> None:
        """Restores the trainable flags from construction, and lets Keras set them."""
        for path, guard in self._guards.items():
            release(self.layers[path], [guard])
        self._guards = {}
        self._first.restore()

    def set_flags(self, flags: Flags) -> None:
        """Sets which layers and weights train, to what `flags` returned."""
        flags.restore()
        self._remember()

    def _guard(self) -> None:
        """Adds the guards of all weights, which freeze and thaw as the adapters have set them."""
        if self._guards:
            return
        for path, layer in self.layers.items():
            if (weights := own_weights(layer)) and not hasattr(layer, NAME):  # of another model with the same layer
                self._guards[path] = FreezeGuard(layer, weights)
                hold(layer, [self._guards[path]])

    def _remember(self) -> None:
        for guard in self._guards.values():
            guard.remember()
