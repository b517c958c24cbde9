"""The control of a model's adapters: variables by which compiled functions know how the adapters act."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np

from vertebra._discovery import runtimes
from vertebra._lora.choices.active import AdapterState

CONTROL = "lora_control"

_structures: dict[tuple[str, ...], int] = {}
"""A number for each way of adapting that this process has seen."""
_numbering = threading.Lock()


class AdapterControl(keras.layers.Layer):  # type: ignore[misc]
    """Shows a model the variables of the adapters that act in the present thread or task; it is in no file.

    Keras passes a compiled function the values of the model's `variables`, and finds the trace by their shapes. So
    everything that changes what is computed is one of these variables: strengths, the variables of adapters that a
    call has chosen, and `structure`. Two ways of adapting may have variables of the same shapes on different layers;
    each way has a number, and that is the length of `structure`, a variable without elements.
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
        """Nothing of it is kept."""

    def load_own_variables(self, store: Any) -> None:
        """Nothing of it was kept."""


def structure_variable(keys: tuple[str, ...]) -> Any:
    """Returns a variable whose shape, `(number, 0)`, tells one way of adapting from every other.

    Args:
        keys: Key of the plan of each adapter that acts; for a choice, the model's, too.
    """
    with _numbering:
        number = _structures.setdefault(keys, len(_structures))
    return state_variable("structure", np.zeros((number, 0), "float32"))


def state_variable(name: str, value: np.ndarray[Any, Any]) -> Any:
    """Returns a variable that does not train, with the value of an array.

    Keras would have a program compiled for each shape, where the backend compiles: even to convert an array.
    """
    dtype = str(value.dtype)

    def start(*_: Any, **__: Any) -> Any:
        return runtimes.bind().tensor(value, dtype)

    return keras.Variable(start, shape=value.shape, dtype=dtype, trainable=False, autocast=False, name=name)
