"""The base class of backbones on JAX: Keras's own class, which raises an error in a forked process.

A fork does not copy JAX's threads, and a computation would wait for them for ever.
"""

from __future__ import annotations

import os
from typing import Any

import keras

from vertebra.errors import ForkedProcessError

_is_used = False
"""Whether this process has used JAX through a backbone, so that JAX has started its threads."""
_is_forked = False
"""Whether this process was forked from one that had used JAX."""


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
    _is_forked = _is_forked or _is_used


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


class JaxModel(keras.Model):
    """A Keras model that raises an error in a forked process, where it would wait for JAX's threads for ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        require_threads()
        super().__init__(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        require_threads()
        return super().__call__(*args, **kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        require_threads()
        super().compile(*args, **kwargs)

    # Keras calls these at the beginning of `fit`, `evaluate`, `predict` and their variants for one batch.

    def make_train_function(self, force: bool = False) -> Any:
        require_threads()
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Any:
        require_threads()
        return super().make_test_function(force)

    def make_predict_function(self, force: bool = False) -> Any:
        require_threads()
        return super().make_predict_function(force)
