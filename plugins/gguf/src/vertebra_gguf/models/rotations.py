"""The scaling of rotary embeddings: transformers has its parameters, and GGUF in part the numbers computed of them."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from vertebra_gguf.models.architecture import Source, rounded

_LLAMA3 = [(factor, 1.0, 4.0, 8192) for factor in (8.0, 32.0)]
"""The parameters of Llama 3.1 and 3.2: factor, factors of the low and high frequencies, and the former context."""
_TOLERANCE = 1e-4
_MOST_FACTORS = 1024


def rotation_fields(source: Source, theta: float = 10_000.0) -> dict[str, Any]:
    """Returns the fields of rotary embeddings.

    Raises:
        PresetConfigError: the file scales them in a way of which transformers' parameters are not known.
    """
    base = rounded(source.number("rope.freq_base", theta))
    return {"rope_theta": base, "rope_scaling": _scaling(source, base)}


def long_factors(source: Source) -> dict[str, Any] | None:
    """Returns the scaling of Phi-3, which has a factor for each frequency, for long and for short texts; or None."""
    long, short = (factors(source, f"rope_factors_{name}.weight") for name in ("long", "short"))
    if long is None or short is None:
        return None
    return {"rope_type": "longrope", "type": "longrope", "long_factor": long, "short_factor": short}


def factors(source: Source, name: str) -> list[float] | None:
    """Returns the values of a small tensor of float32, or None if the file has none.

    Raises:
        PresetConfigError: it is no such tensor, or it is not among the bytes that were read.
    """
    one = source.tensors.get(name)
    if one is None:
        return None
    refusal = source.container.fields.refusal
    count = math.prod(one.shape)
    if one.encoding.name != "F32" or count > _MOST_FACTORS:
        raise refusal(name, f"is {one.encoding.name} of the shape {list(one.shape)}, expected a short list of F32")
    values = struct.unpack_from(f"<{count}f", source.data, one.start)
    if not all(math.isfinite(value) and value > 0 for value in values):
        problem = (
            "has factors that are not above 0, or is not among the first bytes of a file that is not on this machine"
        )
        raise refusal(name, problem, "Download the file first, with: vertebra pull")
    return [rounded(value) for value in values]


def _scaling(source: Source, theta: float) -> dict[str, Any] | None:
    found = factors(source, "rope_freqs.weight")
    kind = source.text("rope.scaling.type", "none")
    if found is not None:
        return _llama3(source, found, theta)
    if kind == "none" and source.has("rope.scale_linear"):
        return _linear(source.number("rope.scale_linear"))
    if kind == "none":
        return None
    if kind == "linear":
        return _linear(source.number("rope.scaling.factor"))
    if kind == "yarn":
        former = source.count("rope.scaling.original_context_length")
        factor = rounded(source.number("rope.scaling.factor"))
        betas = {
            name: rounded(source.number(f"rope.scaling.yarn_{name}"))
            for name in ("beta_fast", "beta_slow")
            if source.has(f"rope.scaling.yarn_{name}")
        }
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": former, **betas}
    raise source.container.fields.refusal(f"{source.name}.rope.scaling.type", f"is {kind!r}, which is not read")


def _linear(factor: float) -> dict[str, Any] | None:
    return None if factor == 1 else {"rope_type": "linear", "factor": rounded(factor)}


def _llama3(source: Source, found: Sequence[float], theta: float) -> dict[str, Any] | None:
    """Returns the parameters of which the factors were computed."""
    if all(value == 1 for value in found):
        return None
    if 2 * len(found) == source.head_dim:
        for factor, low, high, former in _LLAMA3:
            expected = _llama3_factors(2 * len(found), theta, factor, low, high, former)
            if all(math.isclose(one, other, rel_tol=_TOLERANCE) for one, other in zip(found, expected, strict=True)):
                return {
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low,
                    "high_freq_factor": high,
                    "original_max_position_embeddings": former,
                }
    problem = "has other factors than Llama 3.1 and 3.2, so the parameters of its rotary embeddings are not known"
    raise source.container.fields.refusal("rope_freqs.weight", problem, "Load the model from its safetensors files")


def _llama3_factors(head_dim: int, theta: float, factor: float, low: float, high: float, former: int) -> list[float]:
    """Returns the number by which each frequency is divided."""
    result = []
    for index in range(0, head_dim, 2):
        wavelength = 2 * math.pi * theta ** (index / head_dim)
        share = (former / wavelength - low) / (high - low)
        result.append(1 / ((1 - min(max(share, 0), 1)) / factor + min(max(share, 0), 1)))
    return result
