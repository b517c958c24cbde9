"""Values of weights; one that a runtime had to copy is shared with the models that hold the copy already."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import Any

import numpy as np

from vertebra._system.file_identity import is_settled
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.tensor_layout import take
from vertebra.interfaces import Runtime
from vertebra.translations import TensorRule

_LEAST_BYTES = 4096
"""Of a copy that is shared: smaller ones cost no more than to find them."""
_copies: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()
"""The tensors that copies of weights were made in, as long as models hold them."""


def tensor_of(runtime: Runtime, checkpoint: Checkpoint, rule: TensorRule, shape: tuple[int, ...], dtype: str) -> Any:
    """Returns a tensor with the value of a weight.

    Args:
        runtime: The runtime.
        checkpoint: The checkpoint.
        rule: The tensor of the checkpoint, and its layout.
        shape: The shape of the weight.
        dtype: The Keras name of its dtype.
    """
    key = _key(checkpoint, rule, shape, dtype)
    copy = None if key is None else _copies.get(key)
    shared = None if copy is None else runtime.share(copy)
    if shared is not None:
        _copies[key] = shared  # the other model may be deleted first
        return shared
    stored = checkpoint.view(rule.tensor)
    array = take(rule, stored, shape)
    tensor = runtime.tensor(array, dtype)
    entry = checkpoint.entries[rule.tensor]
    start = entry.start + array.ctypes.data - stored.ctypes.data  # of a part, for example
    is_viewed = (
        not entry.is_encoded
        and array.dtype.name == dtype
        and np.may_share_memory(array, stored)
        and runtime.can_view(start, array.flags.c_contiguous)
    )
    if key is not None and not is_viewed:  # a view ends with the file, and a load with `copy=True` must not get it
        _copies[key] = tensor
    return tensor


def _key(checkpoint: Checkpoint, rule: TensorRule, shape: tuple[int, ...], dtype: str) -> Hashable | None:
    """Returns all on which a weight's value depends, or None if it is small, or its file may have changed unnoticed."""
    identity = checkpoint.identity(rule.tensor)
    if identity is None or checkpoint.entries[rule.tensor].size < _LEAST_BYTES or not is_settled(identity):
        return None
    return identity, repr(rule), shape, dtype  # a plugin may give a rule lists, which have no hash
