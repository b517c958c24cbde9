"""Heads: the layers that checkpoints have on top of a backbone for a task, as data of the architecture.

A `BackboneSpec` names a function for each task that its checkpoints have a head for: it gets the backbone's arguments
and the checkpoint's config, and returns a `HeadSpec`. A plugin of tasks builds the layers, and finds their tensors in
the checkpoint by the names that the head states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, get_args

from vertebra.activations import NAMES
from vertebra.errors import exception_text

POOLINGS = ("", "pooled_output", "first", "mean")
"""The states that a head reads: each token's hidden state; the backbone's pooled output; the first token's hidden
state; the mean of all tokens' hidden states, without padding."""
Width = Literal["hidden", "embedding", "outputs"]


@dataclass(frozen=True, slots=True)
class Dense:
    """A dense layer."""

    module: str
    """Name of the layer's tensors in a transformers checkpoint, without `.weight`."""
    width: Width = "outputs"
    """Whether the layer is as wide as the hidden states or as the token table, or has a unit for each output."""
    activation: str | None = None
    """One of `vertebra.activations.NAMES`, or None."""
    use_bias: bool = True

    def __post_init__(self) -> None:
        _require(self, "module", isinstance(self.module, str), "a text")
        _require(self, "width", self.width in get_args(Width), f"one of {', '.join(get_args(Width))}")
        known = self.activation is None or self.activation in NAMES
        _require(self, "activation", known, f"None, or one of {', '.join(NAMES)}")
        _require(self, "use_bias", isinstance(self.use_bias, bool), "True or False")


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalisation."""

    module: str
    """Name of the layer's tensors in a transformers checkpoint, without `.weight`."""
    epsilon: float
    """Added to the variance."""
    use_bias: bool = True

    def __post_init__(self) -> None:
        _require(self, "module", isinstance(self.module, str), "a text")
        _require(self, "epsilon", _is_number(self.epsilon) and self.epsilon > 0, "a number above 0")
        _require(self, "use_bias", isinstance(self.use_bias, bool), "True or False")


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout during training."""

    rate: float
    """The share of the inputs that are set to zero, in [0, 1)."""

    def __post_init__(self) -> None:
        _require(self, "rate", _is_number(self.rate) and 0 <= self.rate < 1, "a number in [0, 1)")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The product with the token table, and a bias for each token: the last layer of a masked language model."""

    bias: str
    """Name of the bias in a transformers checkpoint."""
    matrix: str = ""
    """Name of the matrix in a transformers checkpoint: the token table, once more, or another one if it is not tied."""
    tied: bool = True
    """Whether the matrix is the token table, or one of the head's own."""

    def __post_init__(self) -> None:
        _require(self, "bias", isinstance(self.bias, str), "a text")
        _require(self, "matrix", isinstance(self.matrix, str), "a text")
        _require(self, "tied", isinstance(self.tied, bool), "True or False")


Layer = Dense | Norm | Dropout | Vocabulary
_KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in (Dense, Norm, Dropout, Vocabulary)}


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _require(layer: Layer, field: str, holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"HeadSpec.{type(layer).__name__}: {field}={getattr(layer, field)!r}, expected {expected}")


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """A head: the states of the backbone that it reads, and its layers in order."""

    pooling: str
    """One of `POOLINGS`."""
    layers: tuple[Layer, ...]

    Dense: ClassVar[type[Dense]] = Dense
    Norm: ClassVar[type[Norm]] = Norm
    Dropout: ClassVar[type[Dropout]] = Dropout
    Vocabulary: ClassVar[type[Vocabulary]] = Vocabulary

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"HeadSpec: pooling={self.pooling!r}, expected one of {', '.join(map(repr, POOLINGS))}")

    def to_config(self) -> dict[str, Any]:
        """Returns the head as JSON."""
        layers = [{"kind": type(layer).__name__, **asdict(layer)} for layer in self.layers]
        return {"pooling": self.pooling, "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HeadSpec:
        """Returns the head of a JSON object that `to_config` returned.

        Raises:
            ValueError: the object is not the config of a head.
        """
        try:
            layers = [dict(layer) for layer in config["layers"]]
            return cls(config["pooling"], tuple(_KINDS[layer.pop("kind")](**layer) for layer in layers))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{config!r} is not the config of a head ({exception_text(error)})") from error
