"""Abstract build: creates a model whose variables have shapes but no values, because a checkpoint will fill them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from vertebra._keras.internals import (
    all_layers,
    has_value,
    own_pending,
    pending_variables,
    run_initializer,
    track_parameters,
)


def admit_all(count: int) -> None:
    """Admits every variable."""


@contextlib.contextmanager
def abstract_build(admit: Callable[[int], None] = admit_all) -> Iterator[list[Any]]:
    """Creates variables without values within the block; yields a list that has them all after the block.

    Keras keeps a list of variables without a value, and initialises them all at the end of the next stateless scope.
    The variables of this block are not in that list.

    Args:
        admit: Called with the number of variables of the block before one more is created; it raises to end the build.
    """
    created: list[Any] = []
    with own_pending(admit) as pending, keras.StatelessScope(initialize_variables=False):
        yield created
    created += pending


def drop(variable: Any) -> None:
    """Removes a variable that its layer replaces from Keras's list, so that it is never initialised."""
    pending = pending_variables()
    pending[:] = [other for other in pending if other is not variable]


def initialize(variables: list[Any]) -> None:
    """Runs the initialisers of those variables that still have no value."""
    for variable in variables:
        if not has_value(variable):
            run_initializer(variable)


def finish(model: Any) -> None:
    """Completes the build once variables have values: on torch, registers each layer's parameters with its module."""
    for layer in all_layers(model):
        track_parameters(layer)
