"""Abstract build: a model whose variables have shapes and no values, because the values are about to be placed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state

_PENDING = "uninitialized_variables"


@contextlib.contextmanager
def abstract_build() -> Iterator[list[Any]]:
    """Builds without initialising: yields a list that holds, after the block, every variable created in it.

    Keras keeps variables without a value on a list, and initialises all of it at the end of the next stateless scope;
    this takes the block's own off that list.
    """
    created: list[Any] = []
    before = global_state.get_global_attribute(_PENDING) or []
    global_state.set_global_attribute(_PENDING, [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield created
        created += global_state.get_global_attribute(_PENDING) or []
    finally:
        global_state.set_global_attribute(_PENDING, before)


def drop(variable: Any) -> None:
    """Takes a variable that its layer replaces off Keras's list, so that it never gets a value."""
    waiting = global_state.get_global_attribute(_PENDING) or []
    waiting[:] = [other for other in waiting if other is not variable]


def give_value(variable: Any, tensor: Any) -> None:
    """Makes a tensor the value of a variable that has none, without a copy where the backend can."""
    variable._initialize(tensor)
    variable._initializer = None


def initialize(variables: list[Any]) -> None:
    """Runs the initialisers of those variables that still have no value."""
    for variable in variables:
        if variable._value is None:
            variable._deferred_initialize()


def finish(model: Any) -> None:
    """Does what Keras puts off for layers that are built without values (torch tracks parameters by layer)."""
    for layer in model._flatten_layers():
        layer._post_build()
