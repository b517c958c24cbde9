"""Assigns a value to each variable of an abstract model, as a rule from the mapped checkpoint."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from vertebra._keras.internals import all_layers, give_divided, give_value, has_value, seed_generators
from vertebra._placement.division import Division
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.match import Match
from vertebra._weights.shared_copies import tensor_of
from vertebra._weights.tensor_layout import take
from vertebra.interfaces import Runtime


def assign_weights(
    runtime: Runtime,
    weights: Mapping[str, Any],
    checkpoint: Checkpoint,
    match: Match,
    division: Division | None = None,
) -> None:
    """Gives each weight its value: a view of the mapped file where dtype and layout allow one, else a copy.

    A copy that another model has of the same tensor is shared if the runtime can do so. On a mesh, only the parts of
    this process's devices are read.
    """
    for name, rule in match.sources.items():
        variable = weights[name]
        shape, dtype = tuple(variable.shape), str(variable.dtype)
        array = match.resized.get(name)
        if division is not None:
            whole = take(rule, checkpoint.view(rule.tensor), shape) if array is None else array
            give_divided(variable, division.tensor(name, dtype, whole.__getitem__))
        elif array is None:
            give_value(variable, tensor_of(runtime, checkpoint, rule, shape, dtype))
        else:
            give_value(variable, runtime.tensor(array, dtype))


def assign_seeds(runtime: Runtime, model: Any) -> None:
    """Gives seed generators their initial state: a seed and a counter of 0.

    On jax, Keras's own initialiser would compile a conversion, which takes ten times the time and memory of a load.
    """
    for layer in all_layers(model):
        for generator in seed_generators(layer):
            if not has_value(generator.state):
                seed = generator.get_config()["seed"]
                if seed is None:
                    seed = random.randint(1, 10**9)  # as in Keras: `keras.utils.set_random_seed` seeds this module
                dtype = str(generator.state.dtype)
                give_value(generator.state, runtime.tensor(np.array([seed, 0], dtype), dtype))
