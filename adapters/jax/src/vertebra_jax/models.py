"""The base class of backbones on JAX: Keras's own class, which a forked process may not use."""

from __future__ import annotations

from typing import Any

import keras

from vertebra_jax.forking import require_threads


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
