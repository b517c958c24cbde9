"""Layers for architectures. Importing this module imports no framework; using a layer binds the runtime."""

from __future__ import annotations

import importlib
from typing import Any

from vertebra._discovery import runtimes
from vertebra._keras import internals

_HOMES = {
    "Cache": "vertebra.layers.caches",
    "CausalMask": "vertebra.layers.caches",
    "Decoding": "vertebra.layers.caches",
    "Dropout": "vertebra._keras.dropout",
    "EncoderLayer": "vertebra.layers.encoder",
    "FirstToken": "vertebra.layers.encoder",
    "PADDING": "vertebra.layers.caches",
    "Pad": "vertebra.layers.unpadding",
    "PositionEmbedding": "vertebra.layers.position_embeddings",
    "RotaryEmbedding": "vertebra.layers.rotary",
    "SelfAttention": "vertebra.layers.encoder",
    "TokenPositionEmbedding": "vertebra.layers.position_embeddings",
    "Tokens": "vertebra.layers.unpadding",
    "Unpad": "vertebra.layers.unpadding",
    "attend": "vertebra.layers.attention",
    "cached": "vertebra.layers.caches",
    "can_unpad": "vertebra.layers.unpadding",
    "computing": "vertebra.layers.unpadding",
    "decoding": "vertebra.layers.caches",
    "empty_cache": "vertebra.layers.caches",
    "grown_cache": "vertebra.layers.caches",
    "masking_bias": "vertebra.layers.attention",
    "packed": "vertebra.layers.packing",
    "padded": "vertebra.layers.unpadding",
    "positions": "vertebra.layers.caches",
    "rotate": "vertebra.layers.rotary",
    "tokens_of": "vertebra.layers.unpadding",
    "unpadded": "vertebra.layers.unpadding",
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
