"""Placing: gives each variable of an abstract model its value, most from the mapped checkpoint."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from vertebra._keras.internals import all_layers, give_value, has_value, seed_generators
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
    for layer in all_layers(model):
        for generator in seed_generators(layer):
            if not has_value(generator.state):
                seed = generator.get_config()["seed"]
                if seed is None:
                    seed = random.randint(1, 10**9)  # as Keras does: `keras.utils.set_random_seed` seeds this
                dtype = str(generator.state.dtype)
                give_value(generator.state, runtime.tensor(np.array([seed, 0], dtype), dtype))
