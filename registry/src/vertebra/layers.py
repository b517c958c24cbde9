"""Layers for architectures; importing this imports no framework, and using one binds the runtime."""

from __future__ import annotations

from typing import Any

from vertebra._discovery import runtimes
from vertebra._keras import internals

_NAMES = ("Dropout",)


def is_calling() -> bool:
    """Says whether a Keras layer or model is being called in this thread: that call says whether its layers train."""
    return runtimes.bound_backend() is not None and internals.is_calling()


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'vertebra.layers' has no attribute {name!r}")
    runtimes.bind()
    from vertebra._keras.dropout import Dropout

    return Dropout


def __dir__() -> list[str]:
    return [*_NAMES, "is_calling"]
