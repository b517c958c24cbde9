"""Architectures: their classes, presets, formats and demos, as data that a plugin contributes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vertebra.specs.layouts import LayoutRule
from vertebra.specs.presets import PresetSpec, check_kinds

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NOTHING: Mapping[str, Any] = MappingProxyType({})
BUILTIN_FORMATS = ("native", "transformers", "kerashub")
"""The formats of the core."""


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """The representation of an architecture in another library's preset format."""

    identifiers: tuple[str, ...]
    """The names of this architecture in the format's config, such as `("bert",)` for a `model_type`."""
    translation: str
    """Reference to the `Translation` between that format's config and tensors and this architecture's."""

    def __post_init__(self) -> None:
        check_kinds("FormatSpec", tuple, (self.identifiers,))  # every substring of a string would match
        check_kinds("FormatSpec", str, (*self.identifiers, self.translation))


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """An architecture: its class, its built-in presets, and the formats of other libraries that it can be read from."""

    name: str
    """Name of the class, which is also its name in `vertebra.models` and in a native preset."""
    backbone: str
    """Reference to the class."""
    presets: tuple[PresetSpec, ...] = ()
    formats: Mapping[str, FormatSpec] = field(default_factory=lambda: _NOTHING)
    """The architecture's representation by the name of the format: a built-in one, or one that a plugin contributes."""
    heads: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """References to the heads of its checkpoints, by the name of the task: functions `(arguments, config) -> HeadSpec`
    of the backbone's arguments and the checkpoint's config; see `vertebra.heads`."""
    cache: str | None = None
    """Reference to a function `(arguments) -> Sequence[CacheLayer]` of the backbone's arguments, for a decoder: the
    keys and values that each attention layer caches, in the order of the calls. It returns None for arguments that
    make no decoder, such as attention in both directions. Its module imports no framework."""
    layout: tuple[LayoutRule, ...] = ()
    """How its weights are divided for tensor parallelism, by role; empty if it declares no layout. See
    `vertebra.layout_rules`."""
    demo: str | None = None
    """Reference to a function `(DemoContext) -> None` that demonstrates the architecture; `vertebra demo` runs it."""
    version: int = 1
    """Version of the constructor's arguments and of the names of weights, which native presets record. Raise it when a
    new release renames an argument or a layer."""
    fallback: bool = False
    """Whether any other architecture that reads the same config of a foreign format comes first: for plugins that wrap
    the classes of another library."""
    runtimes: tuple[str, ...] = ()
    """The runtimes that compute it, for an architecture that is written for one framework; empty for all."""
    migrate: str | None = None
    """Reference to a function that reads presets of older versions: from the arguments in a config and their version,
    it returns those of the present version, and a dict of new names by former ones, of weights or of layers."""

    def __post_init__(self) -> None:
        check_kinds(
            "BackboneSpec", str, (self.name, self.backbone, *filter(None, (self.cache, self.demo, self.migrate)))
        )
        if type(self.version) is not int or self.version < 1:
            raise TypeError(f"BackboneSpec: version={self.version!r}, expected an int of at least 1")
        check_kinds("BackboneSpec", tuple, (self.presets,))
        check_kinds("BackboneSpec", PresetSpec, self.presets)
        check_kinds("BackboneSpec", FormatSpec, self.formats.values())
        check_kinds("BackboneSpec", tuple, (self.layout, self.runtimes))
        check_kinds("BackboneSpec", LayoutRule, self.layout)
        check_kinds("BackboneSpec", str, self.runtimes)
        others = [preset.name for preset in self.presets if preset.backbone not in ("", self.name)]
        if others:
            raise TypeError(f"BackboneSpec {self.name}: {', '.join(others)} is a preset of another backbone")

    def computes_on(self, runtime: str) -> bool:
        """Says whether a runtime computes the architecture."""
        return not self.runtimes or runtime in self.runtimes


@dataclass(frozen=True, slots=True)
class DemoContext:
    """The argument of an architecture's demo function."""

    runtimes: tuple[str, ...]
    """The runtimes that can be used, in order of name; a demo may prefer one of them."""
    folder: Path
    """An existing folder for the files that the demo writes."""


def resolve_reference(reference: str) -> Any:
    """Imports the object that a reference `"package.module:attribute"` names.

    Raises:
        ValueError: the reference does not have that form.
    """
    if not _REFERENCE.fullmatch(reference):
        raise ValueError(f"{reference!r} is not a reference of the form package.module:attribute")
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
