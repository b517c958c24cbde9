"""Errors in forked processes: a fork does not copy JAX's threads, and a computation would wait for them for ever."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
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
