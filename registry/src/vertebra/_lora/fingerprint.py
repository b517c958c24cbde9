"""A fingerprint of the weights that an adapter was trained beside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import keras

from vertebra._lora.naming import AdapterNames

_SAMPLES = 4096


def fingerprint(backbone: Any, sites: Mapping[str, Any]) -> str:
    """Returns a SHA-256 over evenly spaced values of each adapted layer's kernel, as 64 hex digits.

    Other base weights differ nearly everywhere, so a sample tells them apart and costs milliseconds. Values are
    rounded to bfloat16 first: a base that is loaded in another precision is still the same base.

    Args:
        backbone: Names the layers as adapter files do.
        sites: The adapted layers by path.
    """
    import ml_dtypes
    import numpy as np

    names = AdapterNames(backbone)
    digest = hashlib.sha256()
    for path, site in sorted(sites.items(), key=lambda item: (names.module(item[0]), item[0])):
        kernel = keras.ops.convert_to_numpy(site.kernel.value)
        sample = np.asarray(kernel.flat[:: max(1, kernel.size // _SAMPLES)])
        digest.update(f"{names.module(path)} {site.in_features} {site.out_features}\n".encode())
        digest.update(sample.astype(ml_dtypes.bfloat16).tobytes())
    return digest.hexdigest()
