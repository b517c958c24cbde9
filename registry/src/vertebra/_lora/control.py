"""The control layer of a model's adapters: its variables tell compiled functions which adapters are active."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np

from vertebra._discovery import runtimes
from vertebra._lora.choices.active import AdapterState

CONTROL = "lora_control"

_structures: dict[tuple[str, ...], int] = {}
"""A number for each structure that this process has seen: the keys of the plans that are active together."""
_numbering = threading.Lock()


class AdapterControl(keras.layers.Layer):  # type: ignore[misc]
    """Adds the variables of the current thread's or task's active adapters to the model; no file contains it.

    Keras passes a compiled function the values of the model's `variables` and selects the trace by their shapes. So
    everything that changes the computation is one of these variables: strengths, the variables of adapters that a call
    has chosen, and `structure`. Two structures may have variables of the same shapes on different layers; so each
    structure has a number, which is the length of `structure`, a variable without elements.
    """

    holds_state = True

    def __init__(self, state: AdapterState) -> None:
        super().__init__(name=CONTROL, dtype="float32", trainable=False)
        self.__dict__.update(state=state)
        self.built = True

    @property
    def variables(self) -> list[Any]:
        return list(self.state.now().variables)

    @property
    def weights(self) -> list[Any]:
        return []  # state, as the variables of random seeds

    def save_own_variables(self, store: Any) -> None:
        """Saves nothing."""

    def load_own_variables(self, store: Any) -> None:
        """Loads nothing."""


def structure_variable(keys: tuple[str, ...]) -> Any:
    """Returns a variable whose shape, `(number, 0)`, is unique to a structure of active adapters.

    Args:
        keys: Key of the plan of each active adapter; for a choice, also the key of the model.
    """
    with _numbering:
        number = _structures.setdefault(keys, len(_structures))
    return state_variable("structure", np.zeros((number, 0), "float32"))


def state_variable(name: str, value: np.ndarray[Any, Any]) -> Any:
    """Returns a non-trainable variable with the value of an array.

    It uses the runtime because Keras, on a compiling backend, compiles a program per shape even to convert an array.
    """
    dtype = str(value.dtype)

    def start(*_: Any, **__: Any) -> Any:
        return runtimes.bind().tensor(value, dtype)

    return keras.Variable(start, shape=value.shape, dtype=dtype, trainable=False, autocast=False, name=name)
