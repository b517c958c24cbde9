"""Attention with the runtime's fused kernel, or without it where that lacks dropout or a cap."""

from __future__ import annotations

from typing import Any

from keras import ops

from vertebra._discovery import runtimes
from vertebra.layers.caches import is_decoding


def attend(
    query: Any,
    key: Any,
    value: Any,
    *,
    mask: Any = None,
    bias: Any = None,
    dropout: Any = None,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> Any:
    """Computes attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1).

    Args:
        query: Floats of shape `(batch, length, heads, width)`.
        key: Floats of shape `(batch, tokens, heads, width)`, or with fewer heads, each of which a group of as many
            heads of the query in a row shares (Ainslie et al. 2023, arXiv:2305.13245).
        value: Floats of the shape of `key`.
        mask: Bools that broadcast to `(batch, heads, length, tokens)`: whether a position attends to another. None
            means that all do. With a cache and shared heads, its second axis is 1.
        bias: Floats that broadcast to the same shape, which are added to the scores, or None.
        dropout: A function for the probabilities, such as a `Dropout` layer in training, or None, with which the
            runtime's fused kernel computes attention.
        scale: The factor of the scores; None means one over the square root of `width`.
        soft_cap: Scores become `soft_cap * tanh(scores / soft_cap)`, before mask and bias; None means no cap.

    Returns:
        Floats of the shape of `query`.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    groups = query.shape[2] // key.shape[2]
    if groups > 1 and is_decoding() and query.shape[1] == 1 and bias is None:
        # The heads of a group are computed as the tokens of one head, which repeats no keys and values.
        heads = ops.transpose(ops.reshape(query, (-1, key.shape[2], groups, query.shape[3])), (0, 2, 1, 3))
        mixed = attend(heads, key, value, mask=mask, dropout=dropout, scale=scale, soft_cap=soft_cap)
        return ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), ops.shape(query))
    if groups > 1:
        # torch's attention with shared heads is several times slower on the CPU, where it has no fused kernel.
        key, value = (ops.repeat(shared, groups, axis=2) for shared in (key, value))
    if dropout is None and soft_cap is None:
        if bias is not None:
            mask, bias = None, ops.cast(_as_bias(mask, bias), query.dtype)
        return runtimes.bind().attention(query, key, value, mask, bias, scale)
    bias = _as_bias(mask, bias)
    # The query is scaled before the product, which could overflow float16 otherwise.
    scores = ops.cast(ops.einsum("bqhd,bkhd->bhqk", scale * query, key), "float32")
    if soft_cap is not None:
        scores = soft_cap * ops.tanh(scores / soft_cap)
    if bias is not None:
        scores = scores + ops.cast(bias, "float32")
    # A tuple of axes avoids Keras's warning about a softmax over an axis of size 1, but fails without elements.
    probabilities = ops.cast(ops.softmax(scores, axis=3 if 0 in scores.shape else (3,)), value.dtype)
    return ops.einsum("bhqk,bkhd->bqhd", probabilities if dropout is None else dropout(probabilities), value)


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
