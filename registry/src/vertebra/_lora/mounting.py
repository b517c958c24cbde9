"""Mounting: the layers of a model hold the parts of the adapters that act, and nothing else is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from vertebra._lora.base import Base
from vertebra._lora.hooks import Control, Hook, hooks_for, refuse_config
from vertebra._lora.parts import PartSet

Strengths = np.ndarray[Any, Any] | None
"""How strongly each adapter acts, of shape `(adapters,)` or `(rows, adapters)`; None means one that acts with 1."""


class Mount:
    """What the layers of one model hold now."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._keys: tuple[str, ...] = ()
        self._shape: tuple[int, ...] | None = None
        self._control: Any = None
        self._controls: dict[tuple[tuple[str, ...], tuple[int, ...] | None], Control] = {}
        self._hooks: dict[str, Hook] = {}
        self._refusing: list[Any] = []

    def put(self, keys: Sequence[str], sets: Sequence[PartSet], strengths: Strengths) -> bool:
        """Gives the layers the parts of some plans; returns False if these are what they have, but for strengths.

        Raises:
            LoraStateError: a layer has been given parts through another model that holds it, too.
        """
        shape = None if strengths is None else strengths.shape
        if tuple(keys) == self._keys and shape == self._shape:
            if strengths is not None:
                self._control.strengths.assign(strengths)
            return False
        self.take_off()
        if sets:
            self._attach(tuple(keys), sets, strengths)
        return True

    def take_off(self) -> None:
        """Makes the layers what they are without adapters; also after `put` has failed halfway."""
        for hook in self._hooks.values():
            hook.detach()
        for layer in self._refusing:
            vars(layer).pop("get_config", None)
        if self._hooks:
            self._base.model._post_build()  # torch keeps a list of parameters of its own
        self._hooks, self._refusing, self._keys, self._shape, self._control = {}, [], (), None, None

    def _attach(self, keys: tuple[str, ...], sets: Sequence[PartSet], strengths: Strengths) -> None:
        shape = None if strengths is None else strengths.shape
        is_new = (keys, shape) not in self._controls
        if is_new:  # once for each way of adapting, so that what was compiled for it is found again
            self._controls[keys, shape] = Control(keys, strengths)
        self._control = self._controls[keys, shape]
        if strengths is not None:
            self._control.strengths.assign(strengths)
        self._hooks = hooks_for(self._base.layers, sets, self._control)
        for hook in self._hooks.values():
            hook.attach()
        self._tell_holders(is_new)
        self._base.model._post_build()
        self._keys, self._shape = keys, shape

    def _tell_holders(self, is_new: bool) -> None:
        """What was compiled knows nothing of new parts, and a layer's config cannot hold any."""
        holders = {prefix for path in self._hooks for prefix in _prefixes(path)}
        for layer in [self._base.model, *(self._base.layers[path] for path in sorted(holders))]:
            if is_new and isinstance(layer, keras.Model):
                layer.train_function = layer.test_function = layer.predict_function = None
            if not hasattr(layer, "constructor_config") or layer is not self._base.model:  # a backbone's own can
                layer.get_config = refuse_config
                self._refusing.append(layer)


def _prefixes(path: str) -> list[str]:
    """Returns the path of a layer, and of the layers that hold it."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
