"""Placing: gives each variable of an abstract model its value, most from the mapped checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras.src.random.seed_generator import make_default_seed

from vertebra._weights.abstract import give_value
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.tensor_layout import take
from vertebra.interfaces import Runtime
from vertebra.specs import TensorRule


def place(
    runtime: Runtime, weights: Mapping[str, Any], checkpoint: Checkpoint, sources: Mapping[str, TensorRule]
) -> None:
    """Fills each weight once, viewing the file wherever dtype and layout allow."""
    for name, rule in sources.items():
        variable = weights[name]
        array = take(rule, checkpoint.view(rule.tensor), tuple(variable.shape))
        give_value(variable, runtime.tensor(array, str(variable.dtype)))


def place_seeds(runtime: Runtime, model: Any) -> None:
    """Gives random seeds their state: a seed and a count of 0.

    Keras's own initialiser would compile a conversion for it on jax, at ten times the time and memory of a load.
    """
    for layer in model._flatten_layers():
        for generator in layer._seed_generators:
            if generator.state._value is None:
                seed = make_default_seed() if generator._initial_seed is None else generator._initial_seed
                dtype = str(generator.state.dtype)
                give_value(generator.state, runtime.tensor(np.array([seed, 0], dtype), dtype))
