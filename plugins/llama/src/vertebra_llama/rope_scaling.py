"""Frequencies of rotary positions (arXiv:2104.09864), scaled for contexts that are longer than the training's.

A scaling is a mapping with the fields that transformers 5 has in `rope_parameters`, and the same meanings; None means
no scaling. `check` refuses invalid ones, and `frequencies` computes those that do not depend on the length. Importing
this module imports no framework.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

LENGTH = "original_max_position_embeddings"
"""The field with the number of positions that the model was trained for before it was scaled."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value < 2**31


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _are_factors(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_positive, value))


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "factor": (_is_positive, "a number above 0"),
    LENGTH: (_is_size, "an int from 1"),
    "low_freq_factor": (_is_positive, "a number above 0"),
    "high_freq_factor": (_is_positive, "a number above 0"),
    "attention_factor": (_is_positive, "a number above 0"),
    "beta_fast": (_is_positive, "a number above 0"),
    "beta_slow": (_is_positive, "a number above 0"),
    "mscale": (_is_number, "a number"),
    "mscale_all_dim": (_is_number, "a number"),
    "truncate": (_is_flag, "True or False"),
    "short_factor": (_are_factors, "a list of numbers above 0"),
    "long_factor": (_are_factors, "a list of numbers above 0"),
}
"""For each field, its check and the values that it accepts."""

_YARN = ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")
TYPES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "linear": (("factor",), ()),
    "dynamic": (("factor", LENGTH), ()),
    "yarn": (("factor", LENGTH), _YARN),
    "longrope": (("factor", LENGTH, "short_factor", "long_factor"), ("attention_factor",)),
    "llama3": (("factor", LENGTH, "low_freq_factor", "high_freq_factor"), ()),
}
"""For each type of scaling, the fields that it must have, and those that it may have.

`linear` divides positions (arXiv:2306.15595); `dynamic` is the NTK-aware scaling of the base by the length; `yarn` is
of arXiv:2309.00071, `longrope` of arXiv:2402.13753, and `llama3` that of Llama 3.1 (arXiv:2407.21783).
"""


def check(scaling: Any, width: int, base: float) -> dict[str, Any] | None:
    """Returns a scaling as JSON, or None for None.

    Args:
        scaling: The scaling.
        width: Number of a head's elements that are rotated.
        base: Base of the wavelengths.

    Raises:
        ValueError: the type is unknown, or a field is missing, unknown or out of range, or the type has no meaning for
            this width or base; the message names the field.
    """
    if scaling is None:
        return None
    kind = scaling.get("rope_type") if isinstance(scaling, Mapping) else None
    if not isinstance(kind, str) or kind not in TYPES:
        raise ValueError(f"rope_scaling={scaling!r}, expected None, or a rope_type of {', '.join(TYPES)}.")
    required, optional = TYPES[kind]
    for name in (*required, *(name for name in scaling if name not in (*required, "rope_type"))):
        if name not in (*required, *optional):
            known = ", ".join((*required, *optional))
            raise ValueError(f"rope_scaling has the field {name!r}, expected those of {kind}: {known}.")
        holds, expected = _FIELDS[name]
        value = scaling.get(name)
        if not holds(value):
            raise ValueError(f"rope_scaling[{name!r}]={value!r}, expected {expected}.")
        if name in ("short_factor", "long_factor") and len(value) != width // 2:
            raise ValueError(
                f"rope_scaling[{name!r}] has {len(value)} numbers, expected {width // 2}, one for each pair."
            )
    _check_meaning(scaling, width, base)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in scaling.items()}


def _check_meaning(scaling: Mapping[str, Any], width: int, base: float) -> None:
    """Raises ValueError for values with which a formula would divide by zero."""
    kind = scaling["rope_type"]
    if kind == "llama3" and scaling["high_freq_factor"] <= scaling["low_freq_factor"]:
        expected = f"a number above low_freq_factor={scaling['low_freq_factor']!r}"
        raise ValueError(f"rope_scaling['high_freq_factor']={scaling['high_freq_factor']!r}, expected {expected}.")
    if kind == "dynamic" and width <= 2:
        raise ValueError(f"rope_scaling['rope_type']='dynamic' rotates {width} elements of a head, expected 4 or more.")
    if kind == "yarn" and base == 1:
        raise ValueError(
            "rope_scaling['rope_type']='yarn' has the base rope_max_wavelength=1, expected another number."
        )
    if kind == "longrope" and scaling[LENGTH] == 1:
        raise ValueError(f"rope_scaling[{LENGTH!r}]=1, expected an int from 2.")


@dataclass(frozen=True, slots=True)
class Frequencies:
    """The angles by which the pairs of a head are rotated from one position to the next."""

    usual: np.ndarray[Any, Any]
    """Floats of shape `(width / 2,)`."""
    long: np.ndarray[Any, Any] | None = None
    """Those of sequences with more than `length` tokens, or None where they are the same."""
    length: int | None = None
    """Number of tokens from which on the angles depend on the length, or None if they do not."""
    factor: float = 1.0
    """Factor of cosines and sines."""


def frequencies(width: int, base: float, scaling: Mapping[str, Any] | None) -> Frequencies:
    """Returns the frequencies of a scaling; those of `dynamic` are for sequences of at most `length` tokens.

    Args:
        width: Number of a head's elements that are rotated: an even number.
        base: Base of the wavelengths.
        scaling: A scaling that `check` accepts.
    """
    import numpy as np

    # In float32, as transformers computes them: at the position 10,000, rounding changes angles in the third decimal.
    wavelengths = np.float32(base) ** exponents(width)
    if scaling is None:
        return Frequencies(1 / wavelengths)
    match scaling["rope_type"]:
        case "linear":
            return Frequencies(1 / wavelengths / np.float32(scaling["factor"]))
        case "dynamic":
            return Frequencies(1 / wavelengths, length=scaling[LENGTH])
        case "llama3":
            return Frequencies(_llama3(1 / wavelengths, scaling))
        case "yarn":
            return Frequencies(_yarn(wavelengths, base, scaling), factor=_yarn_factor(scaling))
        case _:
            short, long = (np.array(scaling[name], "float32") for name in ("short_factor", "long_factor"))
            factor = _longrope_factor(scaling)
            return Frequencies(1 / (short * wavelengths), 1 / (long * wavelengths), scaling[LENGTH], factor)


def exponents(width: int) -> np.ndarray[Any, Any]:
    """Returns the exponent of the base in the wavelength of each pair: float32 of shape `(width / 2,)`."""
    import numpy as np

    return np.arange(0, width, 2, dtype="float32") / np.float32(width)


def _llama3(plain: np.ndarray[Any, Any], scaling: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Divides low frequencies by the factor; between the two limits, the divisor changes linearly."""
    import numpy as np

    low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], np.float32(scaling["factor"])
    rotations = np.float32(scaling[LENGTH] / (2 * math.pi)) * plain  # within the length of training
    share = np.clip((rotations - np.float32(low)) / np.float32(high - low), 0, 1)
    return (1 - share) * plain / factor + share * plain


def _yarn(wavelengths: np.ndarray[Any, Any], base: float, scaling: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Divides the frequencies of pairs with few rotations by the factor, between two limits a growing share of them."""
    import numpy as np

    width = 2 * len(wavelengths)

    def pair(rotations: float) -> float:
        return width * math.log(scaling[LENGTH] / (rotations * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair(scaling.get("beta_fast") or 32), pair(scaling.get("beta_slow") or 1)
    if scaling.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    step = last - first or 0.001
    share = np.clip((np.arange(width // 2, dtype="float32") - np.float32(first)) / np.float32(step), 0, 1)
    return share / (np.float32(scaling["factor"]) * wavelengths) + (1 - share) / wavelengths


def _yarn_factor(scaling: Mapping[str, Any]) -> float:
    if scaling.get("attention_factor") is not None:
        return float(scaling["attention_factor"])
    factor, one, all_dims = scaling["factor"], scaling.get("mscale"), scaling.get("mscale_all_dim")

    def temperature(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    return temperature(one) / temperature(all_dims) if one and all_dims else temperature(1)


def _longrope_factor(scaling: Mapping[str, Any]) -> float:
    if scaling.get("attention_factor") is not None:
        return float(scaling["attention_factor"])
    if scaling["factor"] <= 1:
        return 1.0
    return math.sqrt(1 + math.log(scaling["factor"]) / math.log(scaling[LENGTH]))
