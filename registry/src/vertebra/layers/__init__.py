"""Layers for architectures. Importing this module imports no framework; using a layer binds the runtime."""

from __future__ import annotations

import importlib
from typing import Any

from vertebra._discovery import runtimes
from vertebra._keras import internals

_HOMES = {
    "Dropout": "vertebra._keras.dropout",
    "EncoderLayer": "vertebra.layers.encoder",
    "FirstToken": "vertebra.layers.encoder",
    "PositionEmbedding": "vertebra.layers.position_embeddings",
    "RotaryEmbedding": "vertebra.layers.rotary",
    "SelfAttention": "vertebra.layers.encoder",
    "TokenPositionEmbedding": "vertebra.layers.position_embeddings",
    "attend": "vertebra.layers.attention",
    "masking_bias": "vertebra.layers.attention",
    "rotate": "vertebra.layers.rotary",
}
"""The module of each public name."""


def is_calling() -> bool:
    """Returns whether a Keras layer or model is being called in this thread; that call then sets the training mode."""
    return runtimes.bound_backend() is not None and internals.is_calling()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vertebra.layers' has no attribute {name!r}")
    runtimes.bind()
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*_HOMES, "is_calling"])
