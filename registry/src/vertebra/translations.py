"""Translations between the config and tensors of an architecture and those of another library's format.

The class to subclass, `Translation`; the rule of a tensor, `TensorRule`; and `ForeignConfig`, whose checks they share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vertebra import activations
from vertebra.errors import FormatLimitError, PresetConfigError

_MOST = 2**24


@dataclass(frozen=True, slots=True)
class TensorRule:
    """The tensor of a checkpoint that has the value of a weight, and its layout.

    The tensor's axes are reordered first (`transpose` or `axes`), and the result is reshaped to the weight's shape. If
    the tensor is fused from several weights, the weight is one `part` of the last axis.

    Examples:
        >>> TensorRule("dense.weight", transpose=True)  # torch's Linear: outputs, inputs
        >>> TensorRule("query/vars/0", shape=(8, 512, 64), axes=(1, 0, 2))  # heads first; the weight is 512 × 512
        >>> TensorRule("c_attn.weight", part=(0, 3))  # query, key and value are fused
        >>> TensorRule("qkv_proj.weight", transpose=True, part=(0, 40, 24))  # 24 heads of queries, 8 of keys and values
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
    part: tuple[int, int] | tuple[int, int, int] | None = None
    """The slice of the last axis: its number, and the number of equal slices; `(0, 3)` is the first of three. For parts
    of different widths, a third number says how many slices the weight takes, from the first on: `(24, 40, 8)`."""
    first_row: int = 0
    """Number of the weight's row that is the tensor's first one; those before it are read as 0 and not written."""
    added: bool = False
    """Whether the weight is one row that is contained in every row of the tensor: it is read as 0."""
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
        if self.part is not None and not 0 <= self.part[0] < self.part[0] + self.taken <= self.part[1]:
            expected = "(number, count) or (number, count, taken) with 0 <= number < number + taken <= count"
            raise TypeError(f"TensorRule: part={self.part!r}, expected {expected}")

    @property
    def taken(self) -> int:
        """The number of slices of the last axis that the weight takes, if it is a part of a tensor."""
        return self.part[2] if self.part is not None and len(self.part) == 3 else 1

    # === Rules of layers that many architectures have ===

    @staticmethod
    def dense(
        ours: str,
        theirs: str,
        module: str | None = None,
        *,
        bias: bool = True,
        part: tuple[int, int] | tuple[int, int, int] | None = None,
    ) -> dict[str, TensorRule]:
        """Returns the rules of a dense layer whose tensors are `weight`, of shape outputs × inputs, and `bias`.

        Args:
            ours: Name of the layer in the backbone.
            theirs: Name of the layer in the checkpoint.
            module: As of `TensorRule`.
            bias: Whether there is a bias.
            part: As of `TensorRule`.
        """
        rules = {f"{ours}/kernel": TensorRule(f"{theirs}.weight", transpose=True, part=part, module=module)}
        return rules | ({f"{ours}/bias": TensorRule(f"{theirs}.bias", part=part, module=module)} if bias else {})

    @staticmethod
    def norm(ours: str, theirs: str, module: str | None = None, *, bias: bool = True) -> dict[str, TensorRule]:
        """Returns the rules of layer normalisation whose tensors are `weight` and `bias`; arguments as of `dense`."""
        rules = {f"{ours}/gamma": TensorRule(f"{theirs}.weight", module=module)}
        return rules | ({f"{ours}/beta": TensorRule(f"{theirs}.bias", module=module)} if bias else {})

    @staticmethod
    def numbered(ours: str, theirs: str, **shapes: tuple[int, ...] | None) -> dict[str, TensorRule]:
        """Returns the rules of a layer in a file of Keras, which numbers the variables of each layer.

        Args:
            ours: Name of the layer in the backbone.
            theirs: Name of the layer in the file.
            **shapes: Name of each weight in the order of the file, with its shape there, or None for its own.
        """
        return {
            f"{ours}/{name}": TensorRule(f"{theirs}/vars/{number}", shape=shape)
            for number, (name, shape) in enumerate(shapes.items())
        }

    @staticmethod
    def heads(ours: str, theirs: str, arguments: Mapping[str, Any], *, bias: bool = True) -> dict[str, TensorRule]:
        """Returns the rules of attention in KerasHub's files, whose projections have an axis for the heads.

        Args:
            ours: Name of the attention layer in the backbone.
            theirs: Name of the layer in the file.
            arguments: The backbone's arguments `hidden_dim` and `num_heads`.
            bias: Whether the projections have a bias.
        """
        hidden_dim, num_heads = arguments["hidden_dim"], arguments["num_heads"]
        split = (num_heads, hidden_dim // num_heads)
        output: dict[str, tuple[int, ...] | None] = {"kernel": (*split, hidden_dim)}
        inputs: dict[str, tuple[int, ...] | None] = {"kernel": (hidden_dim, *split)}
        if bias:
            output["bias"], inputs["bias"] = None, split
        rules = TensorRule.numbered(f"{ours}/attention_output", f"{theirs}/output_dense", **output)
        for name in ("query", "key", "value"):
            rules |= TensorRule.numbered(f"{ours}/{name}", f"{theirs}/{name}_dense", **inputs)
        return rules


class Translation(ABC):
    """The mapping between an architecture's config and tensors and those of another library's format."""

    prefixes: tuple[str, ...] = ("",)
    """Prefixes that tensor names may have; in a checkpoint with a head, the backbone's tensors have their own prefix.

    If there is no tensor with the prefix, the rule's name is tried as a full name, such as `lm_head.weight`.
    """
    ignored: tuple[str, ...] = ()
    """Globs of tensors, without prefix, that checkpoints may have but that are not weights."""
    optional: tuple[str, ...] = ()
    """Globs of weights that checkpoints may lack; those are newly initialised, and reported. A model may lack them,
    too, if an argument that overrides the config leaves them out."""

    @abstractmethod
    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the constructor arguments for a config.

        Raises:
            PresetConfigError: the class cannot compute what a field requires; the message names the field.
        """

    @abstractmethod
    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config for constructor arguments; the base class's arguments are not included.

        In every format but KerasHub's, fields of a preset's original config that `arguments` ignores, such as token
        ids, are kept; they override the same fields of the result.

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

    def constants(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns arrays that the format has as tensors, by name, and that follow from the arguments; see `ignored`."""
        return {}

    def current_name(self, tensor: str) -> str:
        """Returns the current name of a tensor that has another name in older files."""
        return tensor


@dataclass(frozen=True, slots=True)
class ForeignConfig:
    """The config of one architecture in another library's format; each error names the field that it refuses.

    Examples:
        >>> _CONFIG = ForeignConfig("transformers", "transformers' BERT")
        >>> _CONFIG.check_counts(config, ("vocab_size", "num_hidden_layers"), layers="num_hidden_layers")
    """

    format: str
    """Name of the format."""
    owner: str
    """The library and model of the config, such as `KerasHub's BERT`, for messages."""

    # === Reading ===

    def refusal(self, field: str, value: object, problem: str) -> PresetConfigError:
        """Returns the error for a field with an unsupported value."""
        return PresetConfigError(
            f"config.json of {self.owner}", f"{field} is {value!r}, {problem}", "Use a preset without it"
        )

    def check_counts(self, fields: Mapping[str, Any], names: Iterable[str], layers: str = "num_layers") -> None:
        """Refuses invalid sizes before they are used to build layers.

        Args:
            fields: The config, with its defaults.
            names: Fields that must be an int from 1 to 2²⁴.
            layers: The field with the number of layers, which must be at most 1,000.

        Raises:
            PresetConfigError: a field is missing, has another type or is out of range.
        """
        from vertebra.hints import MOST_LAYERS  # which imports annotated_types, and specs import this module

        for name in names:
            value, most = fields.get(name), MOST_LAYERS if name == layers else _MOST
            if type(value) is not int or not 0 < value <= most:
                raise self.refusal(name, value, f"expected an int from 1 to {most}")

    def check_architecture(self, fields: Mapping[str, Any], harmless: Mapping[str, tuple[Any, ...]]) -> None:
        """Refuses field values that mean another architecture.

        Args:
            fields: The config.
            harmless: For each such field, the values that mean this architecture.

        Raises:
            PresetConfigError: a field has another value.
        """
        for field, values in harmless.items():
            if field in fields and fields[field] not in values:
                computed = " or ".join(repr(value) for value in values if value is not None)
                problem = f"and this architecture computes only {computed or 'configs without it'}"
                raise self.refusal(field, fields[field], problem)

    def activation(self, field: str, value: object, names: Mapping[str, str] = activations.TRANSFORMERS) -> str:
        """Returns Vertebra's name of an activation.

        Args:
            field: The field with the activation's name in the format.
            value: The value of the field.
            names: Vertebra's name for each of the format's names.

        Raises:
            PresetConfigError: the value is not one of `names`.
        """
        if not isinstance(value, str) or value not in names:
            raise self.refusal(field, value, f"expected one of {', '.join(sorted(names))}")
        return names[value]

    def constructor_arguments(
        self, config: Mapping[str, Any], counts: Iterable[str], defaults: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns constructor arguments from a config whose fields have the names and meanings of Vertebra's arguments.

        Args:
            config: The config.
            counts: Names of the size fields, as in `check_counts`.
            defaults: Default values of all other fields.

        Raises:
            PresetConfigError: a field is unknown, or a size is invalid.
        """
        counts = tuple(counts)
        known = list(dict.fromkeys((*counts, *defaults)))
        for name, value in config.items():
            if name not in known:
                raise self.refusal(name, value, f"expected only the fields {', '.join(known)}")
        arguments = {**defaults, **config}
        self.check_counts(arguments, counts)
        return arguments

    # === Writing ===

    def limit(self, arguments: Mapping[str, Any], name: str, problem: str) -> FormatLimitError:
        """Returns the error for an argument whose value the format cannot represent."""
        return FormatLimitError(self.format, name, arguments[name], problem)

    def check_fixed(self, arguments: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
        """Refuses arguments that the format has no field for, unless they have the value that its library always uses.

        Raises:
            FormatLimitError: an argument has another value than in `fixed`.
        """
        for name, value in fixed.items():
            if arguments[name] != value:
                raise self.limit(arguments, name, f"{self.owner} always has {value!r}")

    def check_one_rate(self, arguments: Mapping[str, Any], names: Iterable[str]) -> None:
        """Refuses dropout rates that differ from `dropout`, for formats with a single rate.

        They affect only training, but a preset may be trained.

        Raises:
            FormatLimitError: a rate is neither None nor that of `dropout`.
        """
        for name in names:
            if arguments[name] not in (None, arguments["dropout"]):
                raise self.limit(arguments, name, f"{self.owner} has one rate, dropout={arguments['dropout']!r}")
