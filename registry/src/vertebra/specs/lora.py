"""LoRA: the settings of adapters, the tensors of their files, and the results of enabling and merging them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeGuard

from vertebra.errors import LoraConfigError, printable

_NOTHING: Mapping[str, Any] = MappingProxyType({})


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
        return "\n".join(map(printable, [summary, *co_trained, *unused, *(f"note: {note}" for note in self.notes)]))


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
