"""`ForeignConfig`: helpers for translations, to read and write another library's config."""

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
                raise self.refusal(field, fields[field], "which means a different architecture")

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
