"""Frozen data that plugins contribute and that the core hands to them; nothing here imports a framework."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeGuard

from vertebra.errors import LoraConfigError

if TYPE_CHECKING:
    from vertebra.handles import PresetHandle

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PresetSpec:
    """A built-in preset of an architecture."""

    name: str
    """The id that `from_preset` takes, unique among everything installed."""
    handle: str
    """Where it is, as the text of a handle."""
    parameters: int
    """How many parameters it has."""
    description: str = ""
    copies: tuple[str, ...] = ()
    """Where else it is, the preferred one first; each is tried where it cannot be had from the place before."""

    def __post_init__(self) -> None:
        _check_kinds("PresetSpec", tuple, (self.copies,))
        _check_kinds("PresetSpec", str, (self.name, self.handle, *self.copies))


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """How an architecture appears in a preset format that others defined."""

    identifiers: tuple[str, ...]
    """What the format's config calls this architecture, such as `("bert",)` for a `model_type`."""
    translation: str
    """Reference to the `Translation` between that format's config and tensors and this architecture's."""

    def __post_init__(self) -> None:
        _check_kinds("FormatSpec", tuple, (self.identifiers,))  # a text would match every part of itself
        _check_kinds("FormatSpec", str, (*self.identifiers, self.translation))


@dataclass(frozen=True, slots=True)
class TensorRule:
    """Where the value of a weight stands in a checkpoint.

    The tensor's axes are put in order first (`transpose` or `axes`); what results is given the weight's shape; if the
    tensor holds several weights side by side, one `part` of the last axis is the weight's.

    Examples:
        >>> TensorRule("dense.weight", transpose=True)  # torch's Linear: outputs, inputs
        >>> TensorRule("query/vars/0", shape=(8, 512, 64), axes=(1, 0, 2))  # heads first; the weight is 512 × 512
        >>> TensorRule("c_attn.weight", part=(0, 3))  # query, key and value in one
    """

    tensor: str
    """Name of the tensor."""
    transpose: bool = False
    """Whether its axes are in reverse order there."""
    shape: tuple[int, ...] | None = None
    """Its shape there, or None if that is the weight's but for the reversed axes and the other parts."""
    axes: tuple[int, ...] | None = None
    """The order in which the axes of `shape` are taken before they are joined or split into the weight's."""
    part: tuple[int, int] | None = None
    """Which of how many equal parts along the last axis, such as `(0, 3)` for the first of three."""

    def __post_init__(self) -> None:
        if self.axes is not None and (self.transpose or self.shape is None):
            raise TypeError(f"TensorRule: axes={self.axes!r} needs shape, and excludes transpose")
        if self.axes is not None and sorted(self.axes) != list(range(len(self.shape or ()))):
            raise TypeError(f"TensorRule: axes={self.axes!r} is no order of the {len(self.shape or ())} axes of shape")
        if self.part is not None and not 0 <= self.part[0] < self.part[1]:
            raise TypeError(f"TensorRule: part={self.part!r}, expected a number from 0 and how many there are")


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """An architecture: its class, its built-in presets and the foreign formats it can be read from."""

    name: str
    """Name of the class, which is also its name in `vertebra.models` and in a native preset."""
    backbone: str
    """Reference to the class."""
    presets: tuple[PresetSpec, ...] = ()
    formats: Mapping[str, FormatSpec] = field(default_factory=lambda: _NOTHING)
    """Foreign formats, by the name of the format."""
    demo: str | None = None
    """Reference to a function `(DemoContext) -> None` that shows the architecture at work; `vertebra demo` runs it."""

    def __post_init__(self) -> None:
        _check_kinds("BackboneSpec", str, (self.name, self.backbone))
        _check_kinds("BackboneSpec", tuple, (self.presets,))
        _check_kinds("BackboneSpec", PresetSpec, self.presets)
        _check_kinds("BackboneSpec", FormatSpec, self.formats.values())


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a runtime can compute on."""

    name: str
    """As the backend writes it, such as `cuda:0`."""
    kind: str
    """`cpu`, `gpu` or `tpu`."""
    memory_bytes: int | None = None
    """All of its memory, or None if the backend cannot tell."""
    free_bytes: int | None = None
    """What is free now, or None if the backend cannot tell."""


@dataclass(frozen=True, slots=True)
class PresetFile:
    """A file of a preset."""

    name: str
    """Path below the preset's folder, with `/` between segments."""
    size: int
    """Bytes."""
    path: Path | None = None
    """Where it stands on this machine already, or None if it must be fetched."""
    digest: str | None = None
    """What its content hashes to, as `sha256:` and 64 hexadecimal digits, or None if the source does not say. Others
    that sources know are `git:`, the id of a blob in git's way, and `md5:`."""
    identity: tuple[int, int, int, int] | None = field(default=None, compare=False)
    """Device, inode, size and `st_mtime_ns` that `os.stat` gives for `path`, where the file may be replaced while the
    preset is read: the file that is read must be the one that was listed. None where nothing replaces it."""


@dataclass(frozen=True, slots=True)
class LoadedPreset:
    """What the observing policy hook is told."""

    requested: str
    """What the caller passed to `from_preset`."""
    handle: PresetHandle
    """Where it was read from, after rewriting."""
    format: str
    backbone: str
    """Name of the class."""
    weights: bool
    """Whether weights were loaded, too."""


@dataclass(frozen=True, slots=True)
class DemoContext:
    """What `vertebra demo` gives the demo of an architecture."""

    runtimes: tuple[str, ...]
    """Runtimes that can be used here, in order of name; a demo may have its preference."""
    folder: Path
    """An existing folder for what the demo writes."""


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Settings of a LoRA adapter.

    Raises:
        LoraConfigError: a value is out of range.
    """

    rank: int
    """Inner dimension of the low-rank product, at least 1."""
    alpha: float | None = None
    """Scale of the low-rank path before it is divided by the rank. None means `rank`: a scale of 1, as in KerasHub."""
    dropout: float = 0.0
    """Share of the inputs of the low-rank path that is dropped while training, in [0, 1)."""
    strategy: str = "lora"
    """Name of an installed LoRA strategy."""
    seed: int | None = None
    """Seed of the initial values, for runs that must repeat; None draws one."""
    rank_pattern: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    """Another rank for some of the adapted layers, by target: a name, path, glob or role. The last match wins."""
    alpha_pattern: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    """Another alpha for some of them, in the same way."""
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """What the strategy takes beyond these, by name; it declares them with their defaults."""

    def __post_init__(self) -> None:
        _check_rank(self.rank, "rank")
        if self.alpha is not None:
            _check_alpha(self.alpha, "alpha")
        _require("dropout", self.dropout, _is_number(self.dropout) and 0 <= self.dropout < 1, "a number in [0, 1)")
        _require("strategy", self.strategy, isinstance(self.strategy, str), "the name of a strategy")
        _require("seed", self.seed, self.seed is None or type(self.seed) is int, "an int or None")
        for name in ("rank_pattern", "alpha_pattern", "options"):
            table = getattr(self, name)
            keyed = isinstance(table, Mapping) and all(isinstance(key, str) for key in table)
            _require(name, table, keyed, "a table with names as keys")
        for target, rank in self.rank_pattern.items():
            _check_rank(rank, f"rank_pattern[{target!r}]")
        for target, alpha in self.alpha_pattern.items():
            _check_alpha(alpha, f"alpha_pattern[{target!r}]")


@dataclass(frozen=True, slots=True)
class AdapterTensor:
    """A tensor of a PEFT file: the transpose of a variable of a strategy."""

    variable: str
    """Name of the variable."""
    axes: tuple[str, ...]
    """What each axis of the variable counts: `in`, `rank` or `out`."""


@dataclass(frozen=True, slots=True)
class LoraReceipt:
    """What enabling or loading an adapter did; `print` it."""

    config: LoraConfig
    layers: tuple[str, ...]
    """Paths of the layers that were adapted."""
    parameters_added: int
    """All variables of the adapter."""
    parameters_trained: int
    """All that is trainable now."""
    parameters_frozen: int
    name: str = "default"
    """Name of the adapter."""
    scale: float = 1.0
    """Factor of the low-rank path, as the strategy makes it of rank and alpha."""
    trained: tuple[str, ...] = ()
    """Base weights that train beside it, or that its file holds values for."""
    unused: tuple[str, ...] = ()
    """Tensors of its file for which the model has no place; only with `strict=False`."""

    def __str__(self) -> str:
        total = self.parameters_trained + self.parameters_frozen
        share = 100 * self.parameters_trained / max(total, 1)
        summary = (
            f"{self.config.strategy} of rank {self.config.rank}, scale {self.scale:g}, "
            f"on {len(self.layers)} layers: {self.parameters_added:,} parameters added, "
            f"{self.parameters_trained:,} trained ({share:.2f} %), {self.parameters_frozen:,} frozen"
        )
        beside = [f"trained beside it: {', '.join(self.trained)}"] if self.trained else []
        left = [f"in the file and not used: {', '.join(self.unused)}"] if self.unused else []
        return "\n".join([summary, *beside, *left])


@dataclass(frozen=True, slots=True)
class MergeReceipt:
    """What merging adapters into the kernels did."""

    adapters: tuple[str, ...]
    """Names of the adapters that were merged."""
    layers: tuple[str, ...]
    """Paths of the layers whose kernels changed."""
    largest_error: float
    """Largest difference between a merged value and the exact sum: what the kernel's dtype rounds away."""
    largest_value: float
    """Largest absolute value of a merged kernel, to compare the error with."""
    reversible: bool
    """Whether `unmerge_lora` can take it back."""
    changed_projections: tuple[str, ...] = ()
    """Paths of embeddings whose projection to logits, `reverse=True`, changes by merging: the adapter is one of PEFT's,
    which act where a table is looked up and not where it projects."""

    def __str__(self) -> str:
        back = "can be unmerged" if self.reversible else "cannot be unmerged"
        summary = (
            f"merged {', '.join(self.adapters)} into {len(self.layers)} kernels; rounding is at most "
            f"{self.largest_error:.1e}, with values up to {self.largest_value:.3g}; {back}"
        )
        changed = ", ".join(self.changed_projections)
        return f"{summary}\nlogits of reverse=True change, as in PEFT: {changed}" if changed else summary


def resolve_reference(reference: str) -> Any:
    """Imports what `"package.module:attribute"` refers to.

    Raises:
        ValueError: the reference is not of that form.
    """
    if not _REFERENCE.fullmatch(reference):
        raise ValueError(f"{reference!r} is not a reference of the form package.module:attribute")
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _check_kinds(owner: str, kind: type, values: Iterable[object]) -> None:
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{owner}: {value!r} stands where a {kind.__name__} is expected")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_rank(rank: object, name: str) -> None:
    valid = isinstance(rank, int) and not isinstance(rank, bool) and 1 <= rank <= 65_536
    _require(name, rank, valid, "an int from 1 to 65536")


def _check_alpha(alpha: object, name: str) -> None:
    valid = _is_number(alpha) and 0 < alpha <= 1e6  # which no NaN, and no int beyond floats, is
    _require(name, alpha, valid, "a finite number above 0 and up to 1e6")


def _require(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid or isinstance(value, bool):
        raise LoraConfigError("LoRA settings", name, value, expected)
