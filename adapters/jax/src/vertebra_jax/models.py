"""The base class of backbones on JAX: Keras's own class, with values kept after exceptions, and batches on meshes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras

from vertebra_jax.batches import distribute_rows
from vertebra_jax.threads import require_threads


class JaxModel(keras.Model):
    """A Keras model that keeps its values after exceptions, and notes that it is used.

    In processes that are forked afterwards, calls are errors.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        require_threads()
        super().__init__(*args, **kwargs)

    @functools.wraps(keras.Model.call)
    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(self, "placement", None) is not None:
            inputs = distribute_rows(self, inputs)
        return super().call(inputs, *args, **kwargs)

    @functools.wraps(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> Any:
        optimizer = getattr(self, "optimizer", None)
        if optimizer is not None and self.built and not optimizer.built:
            optimizer.build(self.trainable_variables)  # as Keras does, but before its values could be lost
        with _keeping_values(self):
            return super().fit(*args, **kwargs)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        with _keeping_values(self):
            return super().evaluate(*args, **kwargs)

    @functools.wraps(keras.Model.predict)
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        with _keeping_values(self):
            return super().predict(*args, **kwargs)


@contextlib.contextmanager
def _keeping_values(model: Any) -> Iterator[None]:
    """Puts the values of variables back after an exception: Keras takes them out while it computes (3.15)."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *model.metrics_variables, *(optimizer.variables if optimizer is not None else [])]
    values = [(variable, variable.value) for variable in variables if _has_value(variable)]
    try:
        yield
    except BaseException:
        model.jax_state_sync()  # the values after the last step
        for variable, value in values:  # those before the first one
            if not _has_value(variable) and not value.is_deleted():
                variable.assign(value)
        raise


def _has_value(variable: Any) -> bool:
    try:
        return variable.value is not None
    except TypeError:  # Keras calls the initialiser, which it has forgotten
        return False
