"""Hooks: layers add what their parts compute to their outputs, until they are let go; the layer objects stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vertebra import _runtimes
from vertebra._lora.parts import Part, PartSet
from vertebra.errors import LoraStateError

_CONTROL = "lora_control"
_CALLS = ("call", "quantized_call")

_structures: dict[tuple[str, ...], int] = {}
"""A number for each way of adapting that this process has seen."""


class Control(keras.layers.Layer):  # type: ignore[misc]
    """What tells the parts how strongly each acts; it is state, and in no file.

    A compiled function takes a model's variables by their shapes. Two ways of adapting may add variables of the same
    shapes to different layers; so each way has a number, and that is the length of a variable without elements.
    """

    holds_state = True

    def __init__(self, keys: tuple[str, ...], strengths: np.ndarray[Any, Any] | None) -> None:
        super().__init__(name=_CONTROL, dtype="float32", trainable=False)
        number = _structures.setdefault(keys, len(_structures))
        self.structure = self.add_weight(name="structure", shape=(number, 0), initializer=_zeros, trainable=False)
        self.strengths: Any = None
        if strengths is not None:
            shape = strengths.shape
            self.strengths = self.add_weight(name="strengths", shape=shape, initializer=_zeros, trainable=False)
            self.strengths.assign(strengths)
        self.built = True

    def save_own_variables(self, store: Any) -> None:
        """Nothing of it is kept."""

    def load_own_variables(self, store: Any) -> None:
        """Nothing of it was kept."""

    @property
    def by_rows(self) -> bool:
        """Whether each row of the batch has strengths of its own."""
        return self.strengths is not None and len(self.strengths.shape) == 2

    def apply(self, index: int, change: Any) -> Any:
        """Returns what a part computed, as strongly as it acts: in all, or in each row of the batch."""
        if self.strengths is None:
            return change
        strength = keras.ops.convert_to_tensor(self.strengths)[..., index]
        if len(strength.shape):
            _check_rows(strength.shape[0], change.shape[0])
            strength = keras.ops.reshape(strength, (-1, *(1,) * (len(change.shape) - 1)))
        return change * keras.ops.cast(strength, change.dtype)


class Hook:
    """Makes one layer add what its parts compute, and undoes it."""

    def __init__(self, layer: Any, parts: Sequence[tuple[int, Part]], control: Control) -> None:
        self._layer, self._parts, self._control = layer, tuple(parts), control
        self._activation = getattr(layer, "activation", None)
        self._calls = {name: vars(layer)[name] for name in _CALLS if name in vars(layer)}

    def attach(self) -> None:
        """Gives the layer its parts."""
        _hold(self._layer, [*(part for _, part in self._parts), self._control])
        if self._activation is not None:
            self._layer.activation = None  # the low-rank path joins before the activation
        for name in _CALLS:
            setattr(self._layer, name, self._with_parts(getattr(self._layer, name)))

    def detach(self) -> None:
        """Makes the layer what it was; also after `attach` has failed halfway."""
        for name in _CALLS:
            vars(self._layer).pop(name, None)
        vars(self._layer).update(self._calls)
        if self._activation is not None:
            self._layer.activation = self._activation
        _let_go(self._layer, [*(part for _, part in self._parts), self._control])

    def _with_parts(self, original: Any) -> Any:
        def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = original(inputs, *args, **kwargs)
            if kwargs.get("reverse"):  # a tied embedding used as output projection is not adapted, as in PEFT
                return outputs
            if self._control.by_rows and self._parts[0][1].site.is_lookup:
                _check_batch(self._layer, inputs)
            changed = outputs
            for index, part in self._parts:
                changed = changed + self._control.apply(index, part.call(inputs, outputs))
            return changed if self._activation is None else self._activation(changed)

        return call


def hooks_for(layers: Mapping[str, Any], sets: Sequence[PartSet], control: Control) -> dict[str, Hook]:
    """Returns a hook for each layer that one of some sets of parts adapts, by path.

    Raises:
        LoraStateError: a layer has been given parts through another model that holds it, too.
    """
    paths = dict.fromkeys(path for parts in sets for path in parts.parts)
    taken = [path for path in paths if hasattr(layers[path], _CONTROL)]
    if taken:
        problem = f"Layers have an adapter through another model: {', '.join(taken)}"
        raise LoraStateError(problem, "Unload it from the model that it was enabled on first")
    return {
        path: Hook(
            layers[path], [(i, found.parts[path]) for i, found in enumerate(sets) if path in found.parts], control
        )
        for path in paths
    }


def refuse_config() -> dict[str, Any]:
    """A layer's config cannot hold its adapter, and a copy without it would silently lose what was trained."""
    raise LoraStateError(
        "This model holds layers with a LoRA adapter one by one, which a config, a .keras file or a clone cannot keep",
        "Merge the adapter, or save it by itself; a backbone keeps it as one layer of a model, backbone(inputs)",
    )


def _zeros(shape: tuple[int, ...], dtype: str) -> Any:
    """Keras would have a program compiled for each shape, where the backend compiles: even to convert an array."""
    return _runtimes.bind().tensor(np.zeros(shape, dtype), dtype)


def _hold(layer: Any, inner: Sequence[Any]) -> None:
    layer._tracker.unlock()
    for held in inner:
        setattr(layer, held.name, held)
    layer._tracker.lock()


def _let_go(layer: Any, inner: Sequence[Any]) -> None:
    for held in inner:
        layer._tracker.untrack(held)
        if hasattr(layer, held.name):
            delattr(layer, held.name)


def _check_batch(layer: Any, indices: Any) -> None:
    """A table that is looked up once for all rows, as of positions, has no row of the batch to tell apart."""
    if len(indices.shape) < 2:
        problem = f"Layer {layer.name!r} is looked up without a batch axis, so rows cannot have adapters of their own"
        raise LoraStateError(problem, "Activate one adapter for the whole batch, or leave this layer out of them")


def _check_rows(rows: int, batch: int | None) -> None:
    if batch is not None and batch != rows:
        problem = f"Adapters were chosen for {rows} rows, and the batch has {batch}"
        raise LoraStateError(problem, "Name one adapter, or None, for each row of the batch")
