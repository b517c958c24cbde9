"""`ForeignConfig`: what every translation does with a config that others defined, reading it and writing it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vertebra import activations
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra.hints import MOST_LAYERS

_MOST = 2**24


@dataclass(frozen=True, slots=True)
class ForeignConfig:
    """The config of one architecture in a format that others defined; whatever it refuses, it names.

    Examples:
        >>> _CONFIG = ForeignConfig("transformers", "transformers' BERT")
        >>> _CONFIG.check_counts(config, ("vocab_size", "num_hidden_layers"), layers="num_hidden_layers")
    """

    format: str
    """Name of the format."""
    owner: str
    """What the config describes, such as `KerasHub's BERT`."""

    # === Reading ===

    def refusal(self, field: str, value: object, problem: str) -> PresetConfigError:
        """Returns the error for a field with a value that cannot be honoured."""
        return PresetConfigError(
            f"config.json of {self.owner}", f"{field} is {value!r}, {problem}", "Use a preset without it"
        )

    def check_counts(self, fields: Mapping[str, Any], names: Iterable[str], layers: str = "num_layers") -> None:
        """Refuses sizes that are none, before anything is counted or built by them.

        Args:
            fields: The config, with its defaults.
            names: Fields that must be an int from 1 to 2²⁴.
            layers: The one of them that counts layers, and must be at most 1,000.

        Raises:
            PresetConfigError: a field is missing, of another type or out of range.
        """
        for name in names:
            value, most = fields.get(name), MOST_LAYERS if name == layers else _MOST
            if type(value) is not int or not 0 < value <= most:
                raise self.refusal(name, value, f"expected an int from 1 to {most}")

    def check_architecture(self, fields: Mapping[str, Any], harmless: Mapping[str, tuple[Any, ...]]) -> None:
        """Refuses fields that make another architecture of it.

        Args:
            fields: The config.
            harmless: For each of those fields, the values that do not.

        Raises:
            PresetConfigError: a field has another value.
        """
        for field, values in harmless.items():
            if field in fields and fields[field] not in values:
                raise self.refusal(field, fields[field], "which makes another architecture of it")

    def activation(self, field: str, value: object, names: Mapping[str, str] = activations.TRANSFORMERS) -> str:
        """Returns our name of an activation.

        Args:
            field: The field that holds the format's name of it.
            value: That name.
            names: Our name for each of the format's.

        Raises:
            PresetConfigError: there is none.
        """
        if not isinstance(value, str) or value not in names:
            raise self.refusal(field, value, f"expected one of {', '.join(sorted(names))}")
        return names[value]

    def constructor_arguments(
        self, config: Mapping[str, Any], counts: Iterable[str], defaults: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns constructor arguments from a config whose fields have our names and meanings.

        Args:
            config: The config.
            counts: Names of the sizes, as in `check_counts`.
            defaults: What is assumed for fields that the config leaves out; but for counts, there are no others.

        Raises:
            PresetConfigError: a field is unknown, or a size is none.
        """
        counts = tuple(counts)
        known = list(dict.fromkeys((*counts, *defaults)))
        for name, value in config.items():
            if name not in known:
                raise self.refusal(name, value, f"expected none but {', '.join(known)}")
        arguments = {**defaults, **config}
        self.check_counts(arguments, counts)
        return arguments

    # === Writing ===

    def limit(self, arguments: Mapping[str, Any], name: str, problem: str) -> FormatLimitError:
        """Returns the error for an argument with a value that the format cannot say."""
        return FormatLimitError(self.format, name, arguments[name], problem)

    def check_fixed(self, arguments: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
        """Refuses arguments that the format has no field for, unless they mean what its owner always computes.

        Raises:
            FormatLimitError: one has another value than `fixed` says.
        """
        for name, value in fixed.items():
            if arguments[name] != value:
                raise self.limit(arguments, name, f"{self.owner} always has {value!r}")

    def check_one_rate(self, arguments: Mapping[str, Any], names: Iterable[str]) -> None:
        """Refuses dropout rates that are not `dropout`, for formats that have this one only.

        They change training alone; but a preset is there to be trained on, too.

        Raises:
            FormatLimitError: a rate is neither None nor that of `dropout`.
        """
        for name in names:
            if arguments[name] not in (None, arguments["dropout"]):
                raise self.limit(arguments, name, f"{self.owner} has one rate, dropout={arguments['dropout']!r}")
