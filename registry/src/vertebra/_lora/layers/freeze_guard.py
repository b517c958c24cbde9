"""Freeze guards: base weights that are frozen for an adapter stay frozen when Keras thaws the layers around them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import keras

NAME = "lora_freeze_guard"


class FreezeGuard(keras.layers.Layer):  # type: ignore[misc]
    """Keeps the frozen weights of the layer that holds it frozen.

    Keras sets `trainable` for every weight of every layer below a model. So to freeze and thaw a model would thaw the
    base weights, too. Keras comes to the guard after the weights of its layer, and the guard freezes the frozen ones
    again. The weights train with the adapter if the user sets `trainable = True` for the layer itself, unless that
    ends a freeze of the same layer.
    """

    holds_state = True
    asked: bool | None
    """What the user last set for the layer itself; None if nothing, since the adapters set what trains."""
    trained: frozenset[int]
    """Identities of the weights that train unless the layer is frozen."""

    def __init__(self, layer: Any, weights: Sequence[Any]) -> None:
        super().__init__(name=NAME, dtype="float32")
        # The identity and not the layer: Keras's files would contain what an attribute refers to.
        self.__dict__.update(holder=id(layer), own=tuple(weights), trained=frozenset(), asked=None)
        self.built = True

    def remember(self) -> None:
        """Notes which of the layer's weights train, as the adapters have set them."""
        self.__dict__.update(trained=_trainable(self.own), asked=None)

    @property
    def trainable(self) -> bool:
        return bool(self._trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        if _is_set_for(self.holder, sys._getframe(1)):
            if value and self.asked is None:
                self.trained = _trainable(self.own)
            self.asked = bool(value)
        if value:
            for weight in self.own:
                if weight.trainable and id(weight) not in self.trained:
                    weight.trainable = False


def _trainable(weights: Sequence[Any]) -> frozenset[int]:
    return frozenset(id(weight) for weight in weights if weight.trainable)


def _is_set_for(layer: int, frame: FrameType | None) -> bool:
    """Returns whether `trainable` is set for the layer of an identity itself, and not for one that contains it."""
    while frame is not None and frame.f_code.co_name in ("__setattr__", "trainable"):
        if frame.f_code.co_name == "trainable":
            if frame.f_globals.get("__name__", "").partition(".")[0] not in ("keras", "vertebra"):
                return True  # a function of the user's
            if id(frame.f_locals.get("self")) != layer:
                return False
        frame = frame.f_back
    return True
