"""Layers for architectures; importing this imports no framework, and using one binds the runtime."""

from __future__ import annotations

from typing import Any

from vertebra._discovery import runtimes

_NAMES = ("Dropout",)


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'vertebra.layers' has no attribute {name!r}")
    runtimes.bind()
    from vertebra._dropout import Dropout

    return Dropout


def __dir__() -> list[str]:
    return list(_NAMES)
