"""Dropout of LyCORIS (Yeh et al. 2023, arXiv:2309.14859): while training, outputs of the change, or all, are zero."""

from __future__ import annotations

from typing import Any

from vertebra import LinearView, layers
from vertebra.errors import LoraConfigError

OPTIONS = {"rank_dropout": 0.0, "module_dropout": 0.0}
"""Shares in [0, 1): of the outputs that get no change, and of the calls without any change."""

_TINY = 1e-6
"""Replaces a share of zero outputs left, to avoid a division by zero."""


def add(layer: Any) -> None:
    """Adds the dropout layers of an adapter layer, for options that are above 0.

    Raises:
        LoraConfigError: a share is not in [0, 1).
    """
    for name in OPTIONS:
        rate = layer.options[name]
        if not 0 <= rate < 1:
            raise LoraConfigError("LoRA settings", name, rate, "a number in [0, 1)")
        if rate:
            setattr(layer, f"{name}_layer", layers.Dropout(rate, seed=layer.seed, dtype="float32"))


def apply(layer: Any, view: LinearView, change: Any, rescaled: bool) -> Any:
    """Returns a change of outputs after the dropout; outside of training, the change itself.

    Args:
        layer: The adapter layer.
        view: The linear view.
        change: The change of the outputs.
        rescaled: Whether the other outputs are divided by the share that is left.
    """
    from keras import ops

    if layer.options["rank_dropout"]:
        kept = _kept(layer.rank_dropout_layer, view.out_features)
        kept = kept / ops.maximum(ops.mean(kept), _TINY) if rescaled else kept
        change = view.multiply(change, ops.cast(kept, change.dtype))
    if layer.options["module_dropout"]:
        change = change * ops.cast(_kept(layer.module_dropout_layer, 1), change.dtype)
    return change


def _kept(dropout: Any, size: int) -> Any:
    """Returns a vector of ones, of which a dropout layer has set some to zero."""
    from keras import ops

    return ops.cast(dropout(ops.ones((size,), "float32")) > 0, "float32")
