"""Frozen dataclasses that plugins contribute and that the core passes to them; nothing here imports a framework."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
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
class PresetSpec(Mapping[str, Any]):
    """A built-in preset of an architecture; also a mapping with keys of KerasHub's: `metadata`, and `SCHEME_handle`."""

    name: str
    """The id for `from_preset`, unique among all installed presets."""
    handle: str
    """The handle of the preset, as text."""
    parameters: int
    """The number of parameters."""
    description: str = ""
    copies: tuple[str, ...] = ()
    """Handles of copies, in order of preference; each is tried if the ones before cannot be read."""

    def __post_init__(self) -> None:
        _check_kinds("PresetSpec", tuple, (self.copies,))
        _check_kinds("PresetSpec", str, (self.name, self.handle, *self.copies))

    def __getitem__(self, key: str) -> Any:
        return self._entries()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def _entries(self) -> dict[str, Any]:
        handles = {f"{handle.partition('://')[0]}_handle": handle for handle in (*reversed(self.copies), self.handle)}
        return {"metadata": {"description": self.description, "params": self.parameters}, **handles}


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """The representation of an architecture in another library's preset format."""

    identifiers: tuple[str, ...]
    """The names of this architecture in the format's config, such as `("bert",)` for a `model_type`."""
    translation: str
    """Reference to the `Translation` between that format's config and tensors and this architecture's."""

    def __post_init__(self) -> None:
        _check_kinds("FormatSpec", tuple, (self.identifiers,))  # every substring of a string would match
        _check_kinds("FormatSpec", str, (*self.identifiers, self.translation))


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
    first_row: int = 0
    """Number of the weight's row that is the tensor's first one; those before it are read as 0 and not written."""
    added: bool = False
    """Whether the weight is one row that is contained in every row of the tensor: it is read as 0."""
    tied: str | None = None
    """Full name of the head's tensor that is the same one in a model with a tied head, such as `lm_head.weight`. It is
    read where a checkpoint lacks `tensor`, unless the config says that the head is not tied."""

    def __post_init__(self) -> None:
        if self.axes is not None and (self.transpose or self.shape is None):
            raise TypeError(f"TensorRule: axes={self.axes!r} needs shape, and cannot be combined with transpose")
        if self.axes is not None and sorted(self.axes) != list(range(len(self.shape or ()))):
            raise TypeError(f"TensorRule: axes={self.axes!r} is not an order of the axes of shape={self.shape!r}")
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
    """The architecture's representation by the name of the format."""
    demo: str | None = None
    """Reference to a function `(DemoContext) -> None` that demonstrates the architecture; `vertebra demo` runs it."""

    def __post_init__(self) -> None:
        _check_kinds("BackboneSpec", str, (self.name, self.backbone))
        _check_kinds("BackboneSpec", tuple, (self.presets,))
        _check_kinds("BackboneSpec", PresetSpec, self.presets)
        _check_kinds("BackboneSpec", FormatSpec, self.formats.values())


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a runtime can compute on."""

    name: str
    """The backend's name of the device, such as `cuda:0`."""
    kind: str
    """`cpu`, `gpu` or `tpu`."""
    memory_bytes: int | None = None
    """The device's total memory, or None if unknown."""
    free_bytes: int | None = None
    """The device's free memory, or None if unknown."""


@dataclass(frozen=True, slots=True)
class PresetFile:
    """A file of a preset."""

    name: str
    """Path below the preset's folder, with `/` between segments."""
    size: int
    """Bytes."""
    path: Path | None = None
    """The path of the file on this machine, or None if the file must be fetched."""
    digest: str | None = None
    """`sha256:` and 64 hexadecimal digits, `git:` and the id of a blob, or `md5:`; None if the source lists none."""
    identity: tuple[int, int, int, int] | None = field(default=None, compare=False)
    """Device, inode, size and `st_mtime_ns` that `os.stat` gives for `path`, which must be those of the file that is
    read; None if the file cannot be replaced while the preset is read."""
    problem: str | None = None
    """Why the file cannot be read, such as a link to nothing, or None; a preset loads if it does not need the file."""


@dataclass(frozen=True, slots=True)
class LoadedPreset:
    """A loaded preset or adapter: the argument of the hook `vertebra_preset_loaded`."""

    requested: str
    """The preset that the caller passed to `from_preset`, or the adapter passed to `load_lora_weights`."""
    handle: PresetHandle
    """The handle that the preset was read from, after rewriting."""
    format: str
    """The format; of an adapter, with `lora:` before it."""
    backbone: str
    """Name of the class."""
    weights: bool
    """Whether weights were loaded, too."""


@dataclass(frozen=True, slots=True)
class DemoContext:
    """The argument of an architecture's demo function."""

    runtimes: tuple[str, ...]
    """The runtimes that can be used, in order of name; a demo may prefer one of them."""
    folder: Path
    """An existing folder for the files that the demo writes."""


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
    """Seed of the initial values, for reproducible runs; None draws one."""
    rank_pattern: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    """Another rank for some of the adapted layers, by target: a name, path, glob or role. The last match wins."""
    alpha_pattern: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    """Another alpha for some of the adapted layers, by target as in `rank_pattern`."""
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """The strategy's own options by name; the strategy declares them with their defaults."""

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
            _require(name, table, keyed, "a mapping with strings as keys")
        for target, rank in self.rank_pattern.items():
            _check_rank(rank, f"rank_pattern[{target!r}]")
        for target, alpha in self.alpha_pattern.items():
            _check_alpha(alpha, f"alpha_pattern[{target!r}]")


@dataclass(frozen=True, slots=True)
class AdapterTensor:
    """A tensor of a PEFT file: a variable of a strategy, or its transpose."""

    variable: str
    """Name of the variable."""
    axes: tuple[str | int, ...]
    """The meaning of each axis of the variable: `in`, `rank` or `out`, or its size."""
    transposed: bool = True
    """Whether the file has the transpose."""

    def as_variable(self, array: Any) -> Any:
        """Returns the variable's value for the file's, or the file's for the variable's."""
        return array.T if self.transposed else array


@dataclass(frozen=True, slots=True)
class LoraReceipt:
    """The result of enabling or loading an adapter; `print` it."""

    config: LoraConfig
    layers: tuple[str, ...]
    """Paths of the layers that were adapted."""
    parameters_added: int
    """Number of parameters in the adapter."""
    parameters_trained: int
    """Number of all trainable parameters of the model."""
    parameters_frozen: int
    name: str = "default"
    """Name of the adapter."""
    scale: float = 1.0
    """Factor of the low-rank path, computed by the strategy from rank and alpha."""
    trained: tuple[str, ...] = ()
    """Co-trained weights: base weights that train with the adapter, or whose values are in its file."""
    unused: tuple[str, ...] = ()
    """Tensors of the adapter's file that match no layer; only with `strict=False`."""
    source: str | None = None
    """The path or pinned handle that it was loaded from; None if it was enabled."""
    base_model: str | None = None
    """The base that PEFT's config names, as `name@revision` if it names a revision."""
    notes: tuple[str, ...] = ()
    """Unusual properties of the file, and the adapter that it replaced."""
    method: str = ""
    """The strategy, with rank and scale if it has them."""

    def __str__(self) -> str:
        share = 100 * self.parameters_trained / max(self.parameters_trained + self.parameters_frozen, 1)
        summary = (
            f"{self.method or f'{self.config.strategy} of rank {self.config.rank}, scale {self.scale:g}'}, "
            f"on {len(self.layers)} layers: "
            f"{self.parameters_added:,} parameters added, {self.parameters_trained:,} trained ({share:.2f} %), "
            f"{self.parameters_frozen:,} frozen"
        )
        co_trained = [f"co-trained weights: {', '.join(self.trained)}"] if self.trained else []
        unused = [f"unused tensors in the file: {', '.join(self.unused)}"] if self.unused else []
        return "\n".join([summary, *co_trained, *unused, *(f"note: {note}" for note in self.notes)])


@dataclass(frozen=True, slots=True)
class MergeReceipt:
    """The result of merging adapters into the kernels."""

    adapters: tuple[str, ...]
    """Names of the adapters that were merged."""
    layers: tuple[str, ...]
    """Paths of the layers whose kernels changed."""
    largest_error: float
    """Largest difference between a merged value and the exact sum, from rounding to the kernel's dtype."""
    largest_value: float
    """Largest absolute value of a merged kernel, to compare the error with."""
    reversible: bool
    """Whether `unmerge_lora` can undo the merge."""
    changed_projections: tuple[str, ...] = ()
    """Paths of embeddings whose projection to logits, `reverse=True`, changes by the merge: a PEFT adapter of an
    embedding changes its lookup only."""

    def __str__(self) -> str:
        undo = "can be unmerged" if self.reversible else "cannot be unmerged"
        summary = (
            f"merged {', '.join(self.adapters)} into {len(self.layers)} kernels; rounding is at most "
            f"{self.largest_error:.1e}, with values up to {self.largest_value:.3g}; {undo}"
        )
        changed = ", ".join(self.changed_projections)
        return f"{summary}\nlogits of reverse=True change, as in PEFT: {changed}" if changed else summary


def resolve_reference(reference: str) -> Any:
    """Imports the object that a reference `"package.module:attribute"` names.

    Raises:
        ValueError: the reference does not have that form.
    """
    if not _REFERENCE.fullmatch(reference):
        raise ValueError(f"{reference!r} is not a reference of the form package.module:attribute")
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _check_kinds(owner: str, kind: type, values: Iterable[object]) -> None:
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{owner}: got {value!r}, expected a {kind.__name__}")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_rank(rank: object, name: str) -> None:
    _require(name, rank, type(rank) is int and 1 <= rank <= 65_536, "an int from 1 to 65536")


def _check_alpha(alpha: object, name: str) -> None:
    valid = _is_number(alpha) and 0 < alpha <= 1e6  # also False for NaN, and for an int beyond floats
    _require(name, alpha, valid, "a finite number above 0 and up to 1e6")


def _require(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid or isinstance(value, bool):
        raise LoraConfigError("LoRA settings", name, value, expected)
