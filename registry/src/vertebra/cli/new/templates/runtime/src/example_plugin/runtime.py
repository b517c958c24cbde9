"""Keras's NumPy backend as a runtime. Only methods that need a framework import it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vertebra import Device, Runtime

if TYPE_CHECKING:
    import numpy as np


class ExamplePluginRuntime(Runtime):
    """Runs Keras on NumPy: each operation at once, without a compiler; Keras's NumPy backend cannot train."""

    name = "numpy"  # the name of a backend of Keras: numpy, openvino, tensorflow, torch or jax
    compiles_each_shape = False

    def unavailable_reason(self) -> str | None:
        # Keras's NumPy backend imports jax and SciPy for a few operations, such as convolutions.
        missing = [name for name in ("numpy", "jax", "scipy") if not find_spec(name)]
        if not missing:
            return None
        return f"Keras's NumPy backend lacks packages; install them with: pip install {' '.join(missing)}"

    def model_class(self) -> type:
        import keras

        model: type = keras.Model
        return model

    def devices(self) -> list[Device]:
        return [Device("cpu", "cpu")]

    def tensor(self, array: np.ndarray[Any, Any], dtype: str) -> Any:
        """Returns the array itself if it has the dtype: variables of this backend are copied before they change."""
        import ml_dtypes
        import numpy as np

        return np.asarray(array, getattr(ml_dtypes, dtype, None) or dtype)

    def snapshot(self, tensor: Any) -> Any:
        return tensor.copy()

    def can_view(self, start: int, contiguous: bool) -> bool:
        return True

    def compile(self, backbone: Any) -> Callable[..., Any]:
        """Returns the forward pass for inference: NumPy has no compiler."""
        from vertebra import layers

        def compiled(inputs: Any, tokens: Any = None) -> Any:
            with layers.computing(tokens):
                return backbone(inputs, training=False)

        return compiled
