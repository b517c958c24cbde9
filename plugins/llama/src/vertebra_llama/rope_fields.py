"""Rotary positions in configs of transformers: the fields of its releases 4 and 5, from and to our arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig
from vertebra_llama import rope_scaling
from vertebra_llama.layer_types import FULL, SLIDING, rotary_width
from vertebra_llama.rope_scaling import LENGTH

_ALIASES = {"su": "longrope"}
"""Former names of types."""
_PARTIAL = "partial_rotary_factor"


def read(names: ForeignConfig, config: Mapping[str, Any], arguments: Mapping[str, Any], base: float) -> dict[str, Any]:
    """Returns `rope_max_wavelength`, `rope_scaling` and `partial_rotary_factor`.

    transformers 5 has one table, `rope_parameters`, which may be named `rope_scaling`, as the table of release 4, whose
    config has the base and the share of a head apart from it.

    Args:
        names: The format and the model, for messages.
        config: The config.
        arguments: Arguments that are known already: sizes, and `max_sequence_length`.
        base: The base of the wavelengths where no field has it.

    Raises:
        PresetConfigError: a table has another form, an unknown type, or a field that is missing or out of range.
    """
    field = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = config.get(field) or {}
    if not isinstance(rope, Mapping) or not {SLIDING, FULL}.isdisjoint(rope):
        raise names.refusal(field, rope, "expected one table for all layers")
    kind = rope.get("rope_type", rope.get("type", "default"))
    kind = _ALIASES.get(kind, kind) if isinstance(kind, str) else kind
    found = {
        "rope_max_wavelength": _first(rope.get("rope_theta"), config.get("rope_theta"), base),
        _PARTIAL: _first(rope.get(_PARTIAL), config.get(_PARTIAL), 1.0),
        "rope_scaling": None,
    }
    for name, most in (("rope_max_wavelength", float("inf")), (_PARTIAL, 1)):
        value = found[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            shown = "rope_theta" if name != _PARTIAL else name
            raise names.refusal(shown, value, "expected a number above 0" + (", at most 1" if most == 1 else ""))
    if kind == "default":
        return found
    scaling = _scaling(kind, rope, config, arguments["max_sequence_length"])
    try:
        width = rotary_width({**arguments, **found})
        return found | {"rope_scaling": rope_scaling.check(scaling, width, found["rope_max_wavelength"])}
    except ValueError as error:
        raise names.refusal(field, rope, f"and {str(error).rstrip('.')}") from error


def _scaling(kind: Any, rope: Mapping[str, Any], config: Mapping[str, Any], positions: int) -> dict[str, Any]:
    """Returns our scaling, with the length and the factor that transformers infers where the table lacks them."""
    required, optional = rope_scaling.TYPES.get(kind, ((), ())) if isinstance(kind, str) else ((), ())
    known = {name: rope[name] for name in (*required, *optional) if rope.get(name) is not None}
    if LENGTH in required:
        # `dynamic` scales from the present number of positions; of the others, a field of the config comes first.
        length = positions if kind == "dynamic" else _first(config.get(LENGTH), rope.get(LENGTH), positions)
        known[LENGTH] = length
        if kind in ("yarn", "longrope") and "factor" not in known and type(length) is int and length > 0:
            known["factor"] = positions / length
    return {"rope_type": kind, **known}


def write(names: ForeignConfig, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the table `rope_parameters`, as transformers 5 writes it.

    Raises:
        FormatLimitError: `rope_scaling` is `dynamic`, for another length than `max_sequence_length`.
    """
    table: dict[str, Any] = {"rope_type": "default", "rope_theta": float(arguments["rope_max_wavelength"])}
    if arguments[_PARTIAL] != 1:
        table[_PARTIAL] = float(arguments[_PARTIAL])
    scaling = arguments["rope_scaling"]
    if scaling is None:
        return table
    if scaling["rope_type"] == "dynamic":
        if scaling[LENGTH] != arguments["max_sequence_length"]:
            problem = f"its {LENGTH} must be max_sequence_length={arguments['max_sequence_length']} there"
            raise names.limit(arguments, "rope_scaling", problem)
        scaling = {name: value for name, value in scaling.items() if name != LENGTH}
    return table | {name: value for name, value in scaling.items() if value is not None}


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
