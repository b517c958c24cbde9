"""What Keras's weights files, `.weights.h5` and `.keras`, hold of adapted layers.

A file has merged kernels, as Keras writes them for its own LoRA: a model without adapters that loads it computes what
was trained. The adapters' variables are in the file, too, with the kernels of the base, so that a model with the same
adapters loads all of them to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from vertebra._lora.acting import Acting
from vertebra._lora.layers.kernels import merged_kernel

_MARK = "lora"
"""Entry of a quantised layer whose adapter the file cannot merge: a layer without the adapter refuses to load it."""


def save_layer(store: Any, acting: Acting, path: str, save: Callable[[Any], None]) -> None:
    """Saves a layer with the adapters that act in the model merged into its kernel.

    Args:
        store: Keras's store for the layer's variables.
        acting: What acts in the model.
        path: The layer's path.
        save: The layer's own `save_own_variables`.
    """
    parts = acting.parts.get(path)
    if not parts:
        save(store)
    elif parts[0][1].site.is_quantized:
        save(store)
        store[_MARK] = np.ones(1, "float32")
    else:
        site = parts[0][1].site
        strengths = None if acting.strengths is None else keras.ops.convert_to_numpy(acting.strengths)
        kernel = site.kernel_of(merged_kernel(parts, strengths).astype("float32"))
        with keras.StatelessScope([(site.variable, kernel)]):
            save(store)


def load_layer(store: Any, load: Callable[[Any], None]) -> None:
    """Loads a layer's own variables; its parts, which Keras loads next, give back the kernel of the base."""
    names = list(store.keys())
    load({name: store[name] for name in names if name != _MARK} if _MARK in names else store)
