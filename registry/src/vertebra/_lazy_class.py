"""Doors: stand for a backbone class until it is used, so that the runtime can still be chosen.

`vertebra.Backbone` cannot be the class at once: the class derives from `keras.Model`, and importing Keras fixes the
backend, while `from_preset(..., runtime="jax")` may be about to choose it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

from vertebra._discovery import runtimes
from vertebra._discovery.catalog import BACKBONES, backbone_class, catalog
from vertebra.specs import PresetSpec

BASE = "Backbone"


def resolve_backbone(name: str) -> Any:
    """Returns a backbone class by name, or the door to it while no runtime is bound."""
    if runtimes.bound_backend() is None:
        return _door(name)
    runtimes.bind()
    return _load_class(name)


@functools.cache
def _door(name: str) -> LazyBackbone:
    return LazyBackbone(name)


def _load_class(name: str) -> type:
    if name == BASE:
        from vertebra.backbone import Backbone

        return Backbone
    return backbone_class(name)


class LazyBackbone:
    """Behaves as the backbone class behind it: call it, subclass it, ask its attributes, use it in `isinstance`."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name

    @property
    def presets(self) -> Mapping[str, PresetSpec]:
        """The built-in presets of the class, or of all for `Backbone`, known without importing a framework."""
        entries = [entry for entry in catalog(BACKBONES) if self.__name__ in (BASE, entry.name)]
        return {preset.name: preset for entry in entries for preset in entry.value.presets}

    def from_preset(self, *args: Any, runtime: str | None = None, **kwargs: Any) -> Any:
        """Binds the runtime, then calls `from_preset` of the class."""
        runtimes.bind(runtime)
        return self._resolve().from_preset(*args, **kwargs)  # type: ignore[attr-defined]

    def __call__(self, *args: Any, runtime: str | None = None, **kwargs: Any) -> Any:
        runtimes.bind(runtime)
        return self._resolve()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # Python and notebooks ask what this is by such names; that must not import Keras
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (self._resolve(),)

    def __instancecheck__(self, instance: object) -> bool:
        return self.__subclasscheck__(type(instance))

    def __subclasscheck__(self, subclass: type) -> bool:
        # Without Keras no backbone class exists yet, so nothing can be one.
        return "vertebra.backbone" in sys.modules and issubclass(subclass, self._resolve())

    def __repr__(self) -> str:
        return f"<vertebra door to {self.__name__}>"

    def _resolve(self) -> type:
        runtimes.bind()
        return _load_class(self.__name__)
