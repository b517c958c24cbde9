"""Which adapters may be active together, and at which strengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra._lora.adapter import Adapter
from vertebra.errors import LoraStateError


def check_mix(adapters: Sequence[Adapter], strengths: np.ndarray[Any, Any] | None) -> None:
    """Checks that the changes of the adapters of a layer can be weighted and summed.

    Args:
        adapters: The adapters that become active together.
        strengths: Their strengths, of shape `(adapters,)` or `(rows, adapters)`; None means one at strength 1.

    Raises:
        LoraStateError: an adapter's strategy is not additive, and in some row the adapter has a strength other than 0
            and 1, or another adapter changes the same layer.
    """
    if not any(adapter.exclusive for adapter in adapters):
        return
    rows = np.ones((1, len(adapters))) if strengths is None else np.atleast_2d(strengths)
    for number, adapter in enumerate(adapters):
        if not adapter.exclusive:
            continue
        own = rows[:, number]
        if not np.isin(own, (0, 1)).all():
            problem = f"Adapter {adapter.name!r} has a strength of {own[~np.isin(own, (0, 1))][0]:g}"
            raise LoraStateError(problem, f"Activate it at 1, or not at all: {_reason(adapter)}")
        for other, share in zip(adapters, rows.T, strict=True):
            common = sorted(adapter.exclusive & other.plan.layers.keys())
            if other is not adapter and common and (own * share).any():
                problem = f"Adapters {adapter.name!r} and {other.name!r} both change {common[0]!r}"
                raise LoraStateError(problem, f"Activate one of them: {_reason(adapter)}")


def _reason(adapter: Adapter) -> str:
    return f"changes of {adapter.plan.config.strategy} are not sums, so they cannot be weighted or added"
