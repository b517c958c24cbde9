"""A model without values, as bytes from which equal models are made."""

from __future__ import annotations

import threading
from typing import Any

from vertebra._keras.structures.describing import Description
from vertebra._keras.structures.generated import Fresh, Generated
from vertebra._keras.structures.rebuilding import copied

_OFTEN_DROPPED = "keras_tensor"
"""Kind of names of symbolic tensors, most of which Keras drops while it builds."""


class Structure:
    """The objects of a model without values: layers, variables, and the graph that connects them.

    Copies share no object that can change, with each other or with the original. Names and random seeds that Keras
    has generated are generated again.

    Args:
        value: A model, or other objects that hold one.
        generated: What the build of the model has generated.

    Raises:
        Exception: the model has an object of a kind that is not known, of which copies might share state.
    """

    def __init__(self, value: Any, generated: Generated) -> None:
        description = Description(generated)
        self._data = description.bytes_of(value)
        self._rounds, self._shared = description.rounds, description.shared
        self._drawn, self._named, self._generated = description.drawn, description.named, generated
        self._lock = threading.Lock()
        self._checked = False
        self._seeds: list[int] = []

    def copy(self) -> Any:
        """Returns new objects, equal to those that a build would make now.

        Raises:
            ValueError: names or seeds are used in a way that a copy cannot repeat.
        """
        with self._lock:
            if not self._checked:
                self._seeds = self._checked_seeds()
                self._checked = True
        fresh = Fresh(self._generated.counts, self._seeds)
        value = copied(self._data, self._rounds, self._shared, fresh)
        fresh.count_names()
        return value

    def _checked_seeds(self) -> list[int]:
        """Returns the seeds that the build has drawn, after checking that all seeds and names are known."""
        seeds = self._generated.seeds()
        if seeds is None or not self._drawn <= set(seeds):
            raise ValueError("the build has drawn other random numbers than seeds")
        for name, (kind, _) in self._generated.names.items():
            if self._named[name] > 1 or (self._named[name] == 0 and kind != _OFTEN_DROPPED):
                raise ValueError(f"{name!r} was generated for an object that is not in the model, or for several")
            if name != kind and _written(name) in self._data:
                raise ValueError(f"{name!r} is in an attribute other than a name")
        return seeds


def _written(name: str) -> bytes:
    """Returns the bytes of a name in a pickle: the operation, the length and the text."""
    text = name.encode()
    return b"\x8c" + bytes([len(text)]) + text if len(text) < 256 else b"X" + len(text).to_bytes(4, "little") + text
