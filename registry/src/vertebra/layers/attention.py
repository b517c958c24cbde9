"""Attention with the runtime's fused kernel, or without it where that lacks dropout."""

from __future__ import annotations

from typing import Any

from keras import ops

from vertebra._discovery import runtimes


def attend(
    query: Any,
    key: Any,
    value: Any,
    *,
    mask: Any = None,
    bias: Any = None,
    dropout: Any = None,
    scale: float | None = None,
) -> Any:
    """Computes attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1).

    Args:
        query: Floats of shape `(batch, length, heads, width)`.
        key: Floats of the same shape.
        value: Floats of the same shape.
        mask: Bools that broadcast to `(batch, heads, length, length)`: whether a position attends to another. None
            means that all do.
        bias: Floats that broadcast to the same shape, which are added to the scores, or None.
        dropout: A function for the probabilities, such as a `Dropout` layer in training, or None, with which the
            runtime's fused kernel computes attention.
        scale: The factor of the scores; None means one over the square root of `width`.

    Returns:
        Floats of the shape of `query`.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if dropout is None:
        if bias is not None:
            mask, bias = None, ops.cast(_as_bias(mask, bias), query.dtype)
        return runtimes.bind().attention(query, key, value, mask, bias, scale)
    bias = _as_bias(mask, bias)
    # The query is scaled before the product, which could overflow float16 otherwise.
    scores = ops.cast(ops.einsum("bqhd,bkhd->bhqk", query * scale, key), "float32")
    if bias is not None:
        scores = scores + ops.cast(bias, "float32")
    # A tuple of axes avoids Keras's warning about a softmax over an axis of size 1, but fails without elements.
    probabilities = ops.cast(ops.softmax(scores, axis=3 if 0 in scores.shape else (3,)), value.dtype)
    return ops.einsum("bhqk,bkhd->bqhd", dropout(probabilities), value)


_MASKED = -3e4
"""The bias of a position that is not attended to: far below all scores, and within the range of float16."""


def masking_bias(mask: Any) -> Any:
    """Returns the bias in float32 with the effect of a mask, which may be of any dtype, for `attend`.

    With a bias, the gradient takes one pass over all scores less than with `keras.ops.where`.
    """
    return _MASKED * ops.cast(ops.logical_not(mask), "float32")


def _as_bias(mask: Any, bias: Any) -> Any:
    """Returns a bias that masks, too."""
    if mask is None:
        return bias
    return masking_bias(mask) if bias is None else ops.cast(bias, "float32") + masking_bias(mask)
