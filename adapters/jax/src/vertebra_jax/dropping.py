"""Dropout whose random numbers are drawn two at a time."""

from __future__ import annotations

import math
from typing import Any

import jax
from jax import numpy as jnp

_STEPS = 2**16
"""A choice takes 16 bits, of which a draw has 32."""


def drop(inputs: Any, rate: float, generator: Any) -> Any:
    """Applies dropout with half of the draws that `jax.random.bernoulli` takes."""
    dropped = min(round(rate * _STEPS), _STEPS - 1)
    count = math.prod(inputs.shape)
    draws = jax.random.bits(generator.next(), (-(-count // 2),), "uint32")
    numbers = jax.lax.bitcast_convert_type(draws, "uint16").reshape(-1)[:count].reshape(inputs.shape)
    return jnp.where(numbers >= dropped, inputs * (_STEPS / (_STEPS - dropped)), 0).astype(inputs.dtype)
