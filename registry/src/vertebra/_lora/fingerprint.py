"""A fingerprint of the weights that an adapter was trained beside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import keras

_SAMPLES = 4096


def fingerprint(sites: Mapping[str, Any]) -> str:
    """Returns a SHA-256 over evenly spaced values of each adapted layer's kernel, as 64 hex digits.

    Other base weights differ nearly everywhere, so a sample tells them apart and costs milliseconds. Floats are
    rounded to bfloat16 first: a base that is loaded in another precision is still the same base. A quantised one is
    another.

    Args:
        sites: The sites of the adapted layers, by path.
    """
    import ml_dtypes
    import numpy as np

    digest = hashlib.sha256()
    for path, site in sorted(sites.items()):
        kernel = keras.ops.convert_to_numpy(site.variable.value)
        sample = np.asarray(kernel.flat[:: max(1, kernel.size // _SAMPLES)])
        digest.update(f"{path} {site.in_features} {site.out_features}\n".encode())
        digest.update((sample if "int" in sample.dtype.name else sample.astype(ml_dtypes.bfloat16)).tobytes())
    return digest.hexdigest()
