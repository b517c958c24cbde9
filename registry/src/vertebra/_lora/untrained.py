"""Whether an adapter still has the values with which it was enabled."""

from __future__ import annotations

import hashlib

import keras

from vertebra._lora.adapter import Weights
from vertebra._lora.layers.adapter_layers import Values
from vertebra._lora.state import Adapters


def values_digest(values: Values, co_trained: Weights) -> str:
    """Returns a SHA-256 of the values of an adapter and its co-trained weights, as 64 hex digits."""
    digest = hashlib.sha256()
    for array in [*(array for own in values.values() for array in own.values()), *co_trained.values()]:
        digest.update(keras.ops.convert_to_numpy(array).tobytes())
    return digest.hexdigest()


def is_untrained(adapters: Adapters, name: str) -> bool:
    """Returns whether an adapter was enabled here and has not changed since; False if that is unknown."""
    start = adapters.known[name].start
    return start is not None and start == values_digest(adapters.values_of(name), adapters.co_trained_of(name))
