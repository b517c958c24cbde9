"""Translations between the config and tensors of an architecture and those of another library's format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
        >>> TensorRule("lm_head.weight", transpose=True, outside=True)  # the head has a matrix of its own
        >>> TensorRule("encoder.layer.0.attention.query.weight", module="layers.0.attention.q_proj")
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
    module: str | None = None
    """Name of the module that has the tensor in the library's model, where checkpoints have another name, or None if
    they have the module's. Adapters are for modules: PEFT's files have this name, and those with the other are read."""
    outside: bool = False
    """Whether the tensor is outside the prefix, such as that of a head: a checkpoint with `model.layers.0…` has
    `lm_head.weight`. If a weight has such a rule, the others are written with the translation's first prefix."""

    def __post_init__(self) -> None:
        if self.axes is not None and (self.transpose or self.shape is None):
            raise TypeError(f"TensorRule: axes={self.axes!r} needs shape, and cannot be combined with transpose")
        if self.axes is not None and sorted(self.axes) != list(range(len(self.shape or ()))):
            raise TypeError(
                f"TensorRule: axes={self.axes!r} is not an order of the {len(self.shape or ())} axes of shape"
            )
        if self.module is not None and not self.module:
            raise TypeError("TensorRule: module='', expected the name of a module, or None")
        if self.part is not None and not 0 <= self.part[0] < self.part[1]:
            raise TypeError(f"TensorRule: part={self.part!r}, expected (number, count) with 0 <= number < count")


class Translation(ABC):
    """The mapping between an architecture's config and tensors and those of another library's format."""

    prefixes: tuple[str, ...] = ("",)
    """Prefixes that tensor names may have; in a checkpoint with a head, the backbone's tensors have their own prefix.

    If there is no tensor with the prefix, the rule's name is tried as a full name, such as `lm_head.weight`.
    """
    ignored: tuple[str, ...] = ()
    """Globs of tensors, without prefix, that checkpoints may have but that are not weights."""
    optional: tuple[str, ...] = ()
    """Globs of weights that checkpoints may lack; those are newly initialised, and reported."""

    @abstractmethod
    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the constructor arguments for a config.

        Raises:
            PresetConfigError: the class cannot compute what a field requires; the message names the field.
        """

    @abstractmethod
    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config for constructor arguments; the base class's arguments are not included.

        In the transformers format, fields of a preset's original config that `arguments` ignores, such as token ids,
        are kept; they override the same fields of the result.

        Raises:
            FormatLimitError: the format cannot represent an argument's value; the message names the argument.
        """

    @abstractmethod
    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        """Returns the tensor rule of each weight of a backbone with these arguments; tensor names have no prefix."""

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns the arguments that do not change what a loaded model computes, such as `initializer_range`.

        `config` may leave them out. Every other argument that a saved config does not give back is an error.
        """
        return ()

    def difference(self, arguments: Mapping[str, Any]) -> str | None:
        """Returns a field that the other library ignores, and its computation instead, for messages; else None."""
        return None

    def numbered_layers(self, arguments: Mapping[str, Any]) -> Mapping[int, str]:
        """Returns the path of each linear layer by its number in the format's adapter files, if those have numbers."""
        return {}

    def current_name(self, tensor: str) -> str:
        """Returns the current name of a tensor that has another name in older files."""
        return tensor
