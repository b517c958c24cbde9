"""Abstract build: a model whose variables have shapes and no values, because the values are about to be placed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from vertebra._keras.internals import all_layers, has_value, pending_variables, run_initializer, track_parameters


@contextlib.contextmanager
def abstract_build() -> Iterator[list[Any]]:
    """Builds without initialising: yields a list that holds, after the block, every variable created in it.

    Keras keeps variables without a value on a list, and initialises all of it at the end of the next stateless scope;
    this takes the block's own off that list.
    """
    created: list[Any] = []
    before = pending_variables()[:]
    pending_variables().clear()
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield created
        created += pending_variables()
    finally:
        pending_variables()[:] = before


def drop(variable: Any) -> None:
    """Takes a variable that its layer replaces off Keras's list, so that it never gets a value."""
    pending = pending_variables()
    pending[:] = [other for other in pending if other is not variable]


def initialize(variables: list[Any]) -> None:
    """Runs the initialisers of those variables that still have no value."""
    for variable in variables:
        if not has_value(variable):
            run_initializer(variable)


def finish(model: Any) -> None:
    """Does what Keras puts off for layers that are built without values (torch tracks parameters by layer)."""
    for layer in all_layers(model):
        track_parameters(layer)
