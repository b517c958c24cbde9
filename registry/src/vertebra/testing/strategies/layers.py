"""Small models of one layer, of each kind that LoRA adapts."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

KINDS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "dense": ("Dense", {"units": 5, "activation": "tanh"}, (6, 8)),
    "einsum_split": ("EinsumDense", {"equation": "abc,cde->abde", "output_shape": (None, 2, 4)}, (6, 8)),
    "einsum_join": ("EinsumDense", {"equation": "abde,dec->abc", "output_shape": (None, 6)}, (6, 2, 4)),
    "embedding": ("Embedding", {"input_dim": 9, "output_dim": 8}, (6,)),
    "conv1d": ("Conv1D", {"filters": 5, "kernel_size": 3, "dilation_rate": 2, "padding": "causal"}, (6, 8)),
    "conv2d": ("Conv2D", {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same"}, (7, 8, 3)),
    "conv2d_first": ("Conv2D", {"filters": 5, "kernel_size": 3, "data_format": "channels_first"}, (3, 7, 8)),
}
"""Class, arguments and shape of the inputs of each kind of layer."""
TARGET = "target"
_ROWS = 4


def single_layer(kind: str = "dense", dtype: str = "float32", **changes: Any) -> tuple[Any, np.ndarray[Any, Any]]:
    """Returns a model of one layer, named `target`, with a nonzero bias, and inputs for it.

    Args:
        kind: One of `KINDS`.
        dtype: The dtype policy of the layer.
        changes: Arguments of the layer that override those of the kind.
    """
    name, arguments, shape = KINDS[kind]
    draws = np.random.default_rng(0)
    is_lookup = kind == "embedding"
    inputs = keras.Input(shape, dtype="int32" if is_lookup else "float32")
    layer = getattr(keras.layers, name)(**arguments | changes, dtype=dtype, name=TARGET)
    model = keras.Model(inputs, layer(inputs))
    for variable in model.weights:
        variable.assign(draws.normal(size=variable.shape) * 0.3)
    rows = (_ROWS, *shape)
    return model, draws.integers(0, 9, rows) if is_lookup else draws.normal(size=rows).astype("float32")
