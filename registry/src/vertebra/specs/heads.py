"""Heads: the layers that checkpoints have on top of a backbone for a task, as data of the architecture.

A `BackboneSpec` names a function for each task that its checkpoints have a head for: it gets the backbone's arguments
and the checkpoint's config, and returns a `HeadSpec`. A plugin of tasks builds the layers, and finds their tensors in
the checkpoint by the names that the head states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

POOLINGS = ("", "pooled_output", "first", "mean")
"""The states that a head reads: each token's hidden state; the backbone's pooled output; the first token's hidden
state; the mean of all tokens' hidden states, without padding."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A dense layer."""

    module: str
    """Name of the layer's tensors in a transformers checkpoint, without `.weight`."""
    width: Literal["hidden", "embedding", "outputs"] = "outputs"
    """Whether the layer is as wide as the hidden states or as the token table, or has a unit for each output."""
    activation: str | None = None
    """One of `vertebra.activations.NAMES`, or None."""
    use_bias: bool = True


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalisation."""

    module: str
    """Name of the layer's tensors in a transformers checkpoint, without `.weight`."""
    epsilon: float
    """Added to the variance."""
    use_bias: bool = True


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout during training."""

    rate: float
    """The share of the inputs that are set to zero, in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The product with the token table, and a bias for each token: the last layer of a masked language model."""

    bias: str
    """Name of the bias in a transformers checkpoint."""
    matrix: str = ""
    """Name of the matrix in a transformers checkpoint: the token table, once more, or another one if it is not tied."""
    tied: bool = True
    """Whether the matrix is the token table, or one of the head's own."""


Layer = Dense | Norm | Dropout | Vocabulary
_KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in (Dense, Norm, Dropout, Vocabulary)}


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
            raise ValueError(f"{config!r} is not the config of a head ({type(error).__name__}: {error})") from error
