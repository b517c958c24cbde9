"""Layers for architectures. Importing this module imports no framework; using a layer binds the runtime."""

from __future__ import annotations

from typing import Any

from vertebra._discovery import runtimes
from vertebra._keras import internals

_NAMES = ("Dropout",)


def is_calling() -> bool:
    """Returns whether a Keras layer or model is being called in this thread; that call then sets the training mode."""
    return runtimes.bound_backend() is not None and internals.is_calling()


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'vertebra.layers' has no attribute {name!r}")
    runtimes.bind()
    from vertebra._keras.dropout import Dropout

    return Dropout


def __dir__() -> list[str]:
    return [*_NAMES, "is_calling"]
