"""Keras's own files of a backbone: its adapters cannot change during a save, and calls wait during a load."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from vertebra._lora.choices import calls

if TYPE_CHECKING:
    from keras import Model
else:
    Model = object  # a backbone is a model already, of the class of its runtime


class KerasFiles(Model):  # type: ignore[misc]
    """The methods of a backbone that read and write all its weights, as those of `keras.Model`."""

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Saves the weights as `keras.Model.save_weights`, with the active adapters merged into the kernels."""
        with calls.reading(self):
            super().save_weights(*args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """Loads weights as `keras.Model.load_weights`; a model with adapters loads all weights of the file or none.

        Raises:
            LoraStateError: the active adapters or their strengths differ from those when the file was saved, or they
                are merged.
            ReplacedWeightsError: torch's tools hold the weights in tensors of their own.
            ValueError: the file's weights do not fit the model.
        """
        from vertebra._lora.files.keras_weights import check_file
        from vertebra._lora.state import adapters_of

        with calls.replacing_variables(self):
            load = functools.partial(super().load_weights, *args, **kwargs)
            if adapters_of(self) is not None:
                check_file(self, load)
            load()

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """Saves the model as `keras.Model.save`, with the active adapter."""
        with calls.reading(self):
            return super().save(*args, **kwargs)

    def get_weights(self) -> list[Any]:
        """Returns the values of the weights, as `keras.Model.get_weights`."""
        with calls.reading(self):
            weights: list[Any] = super().get_weights()
            return weights

    def set_weights(self, weights: list[Any]) -> None:
        """Sets the values of the weights, as `keras.Model.set_weights`; raises the errors of `load_weights`."""
        with calls.replacing_variables(self):
            super().set_weights(weights)
