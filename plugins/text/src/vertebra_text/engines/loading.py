"""Loads the task of a preset for a long run, or says why its answers would be of no use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra.errors import WeightsMismatchError

_TRAIN = "Train the task with `fit` and save it with `save_to_preset`, or take a preset that has the head"


def load_trained(
    task: str,
    preset: str,
    *,
    runtime: str | None = None,
    adapter: str | None = None,
    dtype: str | None = None,
    options: Mapping[str, Any],
) -> Any:
    """Returns a task of a preset with its adapter.

    Args:
        task: Name of the task in `vertebra.models`.
        preset: A preset id, a handle or a path.
        runtime: Name of the runtime, or None for the default one.
        adapter: A path or handle of a LoRA adapter, or None.
        dtype: dtype or dtype policy of the backbone, or None for float32.
        options: Further arguments of `from_preset`; None is left out.

    Raises:
        WeightsMismatchError: the preset has no trained head for the task.
        VertebraError: the preset or the adapter cannot be loaded.
    """
    import vertebra

    given = {name: value for name, value in options.items() if value is not None}
    given |= {"dtype": dtype} if dtype else {}
    loaded = getattr(vertebra.models, task).from_preset(preset, runtime=runtime, **given)
    if loaded.random_weights:
        problem = f"it has no trained head for {task}, so the answers would be random"
        raise WeightsMismatchError(preset, missing=loaded.random_weights, cause=problem, remedy=_TRAIN)
    if adapter:
        loaded.load_lora_weights(adapter)
    return loaded
