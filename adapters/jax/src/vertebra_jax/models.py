"""The base class of backbones on JAX: Keras's own class, values kept after exceptions, and errors in forked processes.

A fork does not copy JAX's threads, and a computation would wait for them for ever.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import keras

from vertebra.errors import ForkedProcessError

_is_used = False
"""Whether this process has used JAX through a backbone, so that JAX has started its threads."""
_is_forked = False
"""Whether this process was forked from one that had used JAX."""
_STARTS = ("compile", "make_train_function", "make_test_function", "make_predict_function")
"""Methods of a Keras model that `fit`, `evaluate`, `predict` and their variants for one batch call first."""


def require_threads() -> None:
    """Notes that JAX is being used.

    Raises:
        ForkedProcessError: this process was forked from one that had used JAX.
    """
    global _is_used
    check_process()
    _is_used = True


def check_process() -> None:
    """Raises ForkedProcessError in a process that was forked from one that had used JAX."""
    if _is_forked:
        raise ForkedProcessError("JAX")


def _after_fork() -> None:
    global _is_forked
    if _is_used and not _is_forked:
        _is_forked = True
        _refuse_calls()


def _refuse_calls() -> None:
    """Makes calls of all Keras layers and models errors in this process, also of models that contain a backbone.

    Compiled functions of such a model call no backbone, so that only Keras's own classes can tell.
    """

    keras.Layer.__call__ = _checked(keras.Layer.__call__, lambda layer: bool(layer.weights))
    for name in _STARTS:
        setattr(keras.Model, name, _checked(getattr(keras.Model, name)))


def _checked(method: Callable[..., Any], applies: Callable[[Any], bool] = lambda _: True) -> Callable[..., Any]:
    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if applies(self):
            check_process()
        return method(self, *args, **kwargs)

    return checked


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


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
            from vertebra_jax.batches import distribute_rows

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
