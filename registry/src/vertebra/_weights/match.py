"""Matches tensors to weights: every weight gets a tensor and every tensor is used, or it is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from vertebra._weights.tensor_entry import TensorEntry
from vertebra._weights.tensor_layout import fits, stored_shape
from vertebra.errors import WeightsMismatchError
from vertebra.translations import TensorRule

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Match:
    """The tensors of a checkpoint that fill a model's weights."""

    sources: dict[str, TensorRule]
    """The tensor rule of each weight that the checkpoint fills."""
    fresh: list[str] = field(default_factory=list)
    """Optional weights that the checkpoint lacks."""
    outside: list[str] = field(default_factory=list)
    """Tensors that are not the backbone's, such as those of a head."""
    notes: tuple[str, ...] = ()
    """How an untidy checkpoint was read."""
    resized: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    """The values of weights that have another shape in the checkpoint."""


def match(
    checkpoint: object,
    weights: Mapping[str, Any],
    entries: Mapping[str, TensorEntry],
    rules: Mapping[str, TensorRule],
    *,
    optional: Iterable[str] = (),
    cause: str = "",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Match:
    """Finds a tensor for every weight.

    Args:
        checkpoint: The path of the checkpoint, for messages.
        weights: The model's variables by name.
        entries: The checkpoint's tensors by name.
        rules: For each weight, the rule that names its tensor.
        optional: Globs of weights that the checkpoint or the model may lack.
        cause: Why weights have no tensor, for the message, if it is known.
        shapes: For some weights, the shape in which the checkpoint has them; None means that all have their own.

    Raises:
        WeightsMismatchError: a weight has no tensor, a tensor fills no weight, or a shape or kind of dtype differs.
    """
    missing = [name for name in weights if name not in rules or rules[name].tensor not in entries]
    fresh = [name for name in missing if any_match(name, optional)]
    sources = {name: rules[name] for name in weights if name not in missing}
    used = {rule.tensor for rule in sources.values()}
    spare = {rule.tensor for name, rule in rules.items() if name not in weights and any_match(name, optional)}
    unused = [name for name in entries if name not in used | spare]
    wanted = {name: tuple(weights[name].shape) for name in sources} | dict(shapes or {})
    reshaped = [
        (name, stored_shape(rule, wanted[name]), have)
        for name, rule in sources.items()
        if not fits(rule, wanted[name], have := entries[rule.tensor].shape)
    ]
    retyped = [
        f"{name} (needs {weights[name].dtype}, found {entries[rule.tensor].dtype})"
        for name, rule in sources.items()
        if not _convertible(entries[rule.tensor].dtype, str(weights[name].dtype))
    ]
    absent = [name for name in missing if name not in fresh]
    if absent or unused or reshaped or retyped:
        raise WeightsMismatchError(checkpoint, absent, unused, reshaped, retyped, cause)
    return Match(sources, fresh)


def any_match(name: str, patterns: Iterable[str]) -> bool:
    """Says whether a name matches any of the globs."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _convertible(stored: str, wanted: str) -> bool:
    """Says whether a stored dtype can fill a weight: floats convert to floats, other dtypes must be equal."""
    return stored == wanted or ("float" in stored and "float" in wanted and "float8" not in stored + wanted)
