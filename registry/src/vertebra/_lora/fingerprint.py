"""Fingerprint of the base weights that an adapter was trained on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from vertebra._discovery import runtimes

_SAMPLES = 4096


def fingerprint(views: Mapping[str, Any]) -> str:
    """Returns a SHA-256 over evenly spaced values of each adapted layer's kernel, as 64 hex digits.

    Different base weights differ nearly everywhere, so a sample distinguishes them and costs milliseconds. Floats are
    rounded to bfloat16 first: the same base loaded in float32 or bfloat16 has the same fingerprint. A quantised base
    has another one.

    Args:
        views: The linear views of the adapted layers, by path.
    """
    import ml_dtypes

    digest = hashlib.sha256()
    for path, view in sorted(views.items()):
        size = math.prod(view.variable.shape)
        sample = runtimes.bind().sample(view.variable.value, max(1, size // _SAMPLES))
        digest.update(f"{path} {view.in_features} {view.out_features}\n".encode())
        digest.update((sample if "int" in sample.dtype.name else sample.astype(ml_dtypes.bfloat16)).tobytes())
    return digest.hexdigest()
