"""Which tensors of a checkpoint hold numbers that are none: NaN, or infinity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra._weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 2**20


def not_finite(checkpoint: Checkpoint) -> list[str]:
    """Returns the names of tensors that hold NaN or infinity.

    It reads the whole of every file. Loading maps files and reads none, so it does not look.
    """
    found = []
    for name, entry in checkpoint.entries.items():
        if "float" in entry.dtype and not _is_finite(checkpoint.view(name)):
            found.append(name)
        checkpoint.release(name)
    return found


def _is_finite(array: np.ndarray[Any, Any]) -> bool:
    import numpy as np

    flat = array.reshape(-1)
    return all(np.isfinite(flat[start : start + _AT_ONCE]).all() for start in range(0, flat.size, _AT_ONCE))
