"""Finds tensors of a checkpoint that hold NaN or infinity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra._weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 2**20


def not_finite(checkpoint: Checkpoint) -> list[str]:
    """Returns the names of tensors that hold NaN or infinity.

    This reads every byte of the checkpoint. Loads do not check this, because they map files without reading them.
    """
    names = []
    for name, entry in checkpoint.entries.items():
        if "float" in entry.dtype and not _is_finite(checkpoint.view(name)):
            names.append(name)
        checkpoint.release(name)
    return names


def _is_finite(array: np.ndarray[Any, Any]) -> bool:
    import numpy as np

    flat = array.reshape(-1)
    return all(np.isfinite(flat[start : start + _AT_ONCE]).all() for start in range(0, flat.size, _AT_ONCE))
