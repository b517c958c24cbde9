"""Dropout for architectures, where Keras's own leaves speed behind."""

from __future__ import annotations

from typing import Any

import keras

from vertebra._discovery import runtimes


@keras.saving.register_keras_serializable("vertebra")
class Dropout(keras.layers.Dropout):  # type: ignore[misc]
    """`keras.layers.Dropout`, with random numbers drawn as the runtime does it fastest.

    While a model of the size of BERT-base is fine-tuned on a CPU, Keras's way of drawing them is a tenth of all time.
    With a `seed` or a `noise_shape` it is Keras's layer, with the same numbers.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or not 0 < self.rate < 1 or self.seed is not None or self.noise_shape is not None:
            return super().call(inputs, training=training)
        return runtimes.bind().dropout(inputs, self.rate, self.seed_generator)
