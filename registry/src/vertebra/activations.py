"""Activation functions by the names that constructors accept, and their names in transformers.

Importing this module imports no framework; `activation` does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

TRANSFORMERS: Mapping[str, str] = MappingProxyType(
    {
        "gelu": "gelu",
        "gelu_python": "gelu",
        "gelu_10": "gelu_10",
        "gelu_new": "gelu_approximate",
        "gelu_accurate": "gelu_approximate",
        "gelu_fast": "gelu_approximate",
        "gelu_python_tanh": "gelu_approximate",
        "gelu_pytorch_tanh": "gelu_approximate",
        "hardswish": "hard_silu",
        "laplace": "laplace",
        "leaky_relu": "leaky_relu",
        "linear": "linear",
        "mish": "mish",
        "quick_gelu": "quick_gelu",
        "relu": "relu",
        "relu2": "relu_squared",
        "relu6": "relu6",
        "sigmoid": "sigmoid",
        "silu": "silu",
        "swish": "silu",
        "sqrtsoftplus": "sqrt_softplus",
        "tanh": "tanh",
    }
)
"""Vertebra's name for each transformers name of the same function; the first of several names is used for writing.

The first name is known to transformers releases that are years old. Activations with weights are not included.
"""

NAMES: tuple[str, ...] = tuple(dict.fromkeys(TRANSFORMERS.values()))
"""All names that `activation` accepts."""


def transformers_name(name: str) -> str:
    """Returns the transformers name of one of `NAMES`.

    Raises:
        ValueError: there is no such activation.
    """
    _check(name)
    return next(other for other, own in TRANSFORMERS.items() if own == name)


def activation(name: str) -> Callable[[Any], Any]:
    """Returns a function from a float tensor to a tensor of the same shape and dtype.

    Args:
        name: One of `NAMES`. `gelu` is exact, `gelu_approximate` its approximation by tanh and `quick_gelu` that by
            a sigmoid (Hendrycks and Gimpel 2016, arXiv:1606.08415); `gelu_10` is `gelu` cut off at ±10 (Wu et al.
            2020, arXiv:2004.09602). `hard_silu` is from Howard et al. 2019, arXiv:1905.02244; `laplace` from Ma et
            al. 2022, arXiv:2209.10655; `mish` from Misra 2019, arXiv:1908.08681; `relu_squared` from So et al. 2021,
            arXiv:2109.08668; `silu` from Elfwing et al. 2017, arXiv:1702.03118. `leaky_relu` has a slope of 0.01.

    Raises:
        ValueError: there is no such activation.
    """
    _check(name)
    return _functions()[name]


def _check(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"activation={name!r}, expected one of {', '.join(NAMES)}.")


@functools.cache
def _functions() -> dict[str, Callable[[Any], Any]]:
    from keras import activations as known
    from keras import ops

    return {
        "gelu": lambda x: known.gelu(x, approximate=False),
        "gelu_10": lambda x: ops.clip(known.gelu(x, approximate=False), -10, 10),
        "gelu_approximate": lambda x: known.gelu(x, approximate=True),
        "hard_silu": known.hard_silu,
        # A normal distribution's share below x, of mean √(1/2) and variance 1/4π.
        "laplace": lambda x: (1 + ops.erf((x - math.sqrt(1 / 2)) * math.sqrt(2 * math.pi))) / 2,
        "leaky_relu": lambda x: known.leaky_relu(x, negative_slope=0.01),
        "linear": known.linear,
        "mish": known.mish,
        "quick_gelu": lambda x: x * ops.sigmoid(1.702 * x),
        "relu": known.relu,
        "relu6": known.relu6,
        "relu_squared": lambda x: ops.square(ops.relu(x)),
        "sigmoid": known.sigmoid,
        "silu": known.silu,
        "sqrt_softplus": lambda x: ops.sqrt(ops.softplus(x)),
        "tanh": known.tanh,
    }
