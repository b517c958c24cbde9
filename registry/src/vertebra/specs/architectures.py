"""Architectures: their classes, presets, formats and demos, as data that a plugin contributes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
class TensorRule:
    """The tensor of a checkpoint that has the value of a weight, and its layout.

    The tensor's axes are reordered first (`transpose` or `axes`), and the result is reshaped to the weight's shape. If
    the tensor is fused from several weights, the weight is one `part` of the last axis.

    Examples:
        >>> TensorRule("dense.weight", transpose=True)  # torch's Linear: outputs, inputs
        >>> TensorRule("query/vars/0", shape=(8, 512, 64), axes=(1, 0, 2))  # heads first; the weight is 512 × 512
        >>> TensorRule("c_attn.weight", part=(0, 3))  # query, key and value are fused
        >>> TensorRule("wte.weight", tied="lm_head.weight")  # the token table is also the matrix of the head
    """

    tensor: str
    """Name of the tensor."""
    transpose: bool = False
    """Whether the tensor's axes are in reverse order."""
    shape: tuple[int, ...] | None = None
    """The tensor's shape, or None for the weight's shape, apart from `transpose` and `part`."""
    axes: tuple[int, ...] | None = None
    """The order of the axes of `shape` before they are joined or split into the weight's axes."""
    part: tuple[int, int] | None = None
    """The slice of the last axis: its number, and the number of equal slices; `(0, 3)` is the first of three."""
    tied: str | None = None
    """Full name of the head's tensor that is the same one in a model with a tied head, such as `lm_head.weight`. It is
    read where a checkpoint lacks `tensor`, unless the config says that the head is not tied."""

    def __post_init__(self) -> None:
        if self.axes is not None and (self.transpose or self.shape is None):
            raise TypeError(f"TensorRule: axes={self.axes!r} needs shape, and cannot be combined with transpose")
        if self.axes is not None and sorted(self.axes) != list(range(len(self.shape or ()))):
            raise TypeError(
                f"TensorRule: axes={self.axes!r} is not an order of the {len(self.shape or ())} axes of shape"
            )
        if self.part is not None and not 0 <= self.part[0] < self.part[1]:
            raise TypeError(f"TensorRule: part={self.part!r}, expected (number, count) with 0 <= number < count")


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
    demo: str | None = None
    """Reference to a function `(DemoContext) -> None` that demonstrates the architecture; `vertebra demo` runs it."""

    def __post_init__(self) -> None:
        check_kinds("BackboneSpec", str, (self.name, self.backbone))
        check_kinds("BackboneSpec", tuple, (self.presets,))
        check_kinds("BackboneSpec", PresetSpec, self.presets)
        check_kinds("BackboneSpec", FormatSpec, self.formats.values())
        others = [preset.name for preset in self.presets if preset.backbone not in ("", self.name)]
        if others:
            raise TypeError(f"BackboneSpec {self.name}: {', '.join(others)} is a preset of another backbone")


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
