"""Suggests the overrides of a config with which weights fit that have other sizes than the config says.

Vocabularies are often padded, to a multiple of 64 rows for example, without a change of the config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vertebra._formats.description import OpenPreset
from vertebra.errors import VertebraError, WeightsMismatchError

Shape = tuple[int, ...]
Mismatch = tuple[str, Shape, Shape]
"""Name of a weight, the shape of its tensor by the config, and the shape that the tensor has."""
Call = Callable[[str, Mapping[str, Any]], str]
"""Function from a preset and overrides to the call or command that reads the preset with them."""
_MOST_OVERRIDES = 3


def load_call(preset: str, overrides: Mapping[str, Any]) -> str:
    """Returns the call that loads a preset with overrides."""
    arguments = "".join(f", {name}={value!r}" for name, value in overrides.items())
    return f"from_preset({preset!r}{arguments})"


def suggest_overrides(
    error: WeightsMismatchError,
    preset: OpenPreset,
    overrides: dict[str, Any],
    shapes: Callable[[dict[str, Any]], dict[str, Shape]],
    call: Call = load_call,
) -> str | None:
    """Returns the remedy for an error with the call that reads the weights, or None if no one call is the answer.

    Args:
        error: The error.
        preset: The preset.
        overrides: The overrides with which it was loaded.
        shapes: Returns the shape of each weight with overrides.
        call: Returns the call for the preset and its overrides.
    """
    if error.missing or error.unused or error.retyped or not error.reshaped:
        return None
    fitting = _fitting(error.reshaped, preset.description.arguments, overrides, shapes)
    if fitting is None:
        return None
    return (
        "Check that config and weights belong to the same model. If they do, and the config has the wrong size, such "
        f"as that of a vocabulary without padding: {call(preset.description.folder.requested, fitting)}"
    )


def _fitting(
    mismatches: list[Mismatch],
    arguments: Mapping[str, Any],
    overrides: dict[str, Any],
    shapes: Callable[[dict[str, Any]], dict[str, Shape]],
) -> dict[str, Any] | None:
    """Returns the overrides with which everything fits, or None if there are none, or several."""
    before = shapes(overrides)
    if 2 * len(mismatches) > len(before):  # weights of another model
        return None
    wanted = before | {name: _resized(before[name], want, have) for name, want, have in mismatches}
    fitting = dict(overrides)
    for _ in range(_MOST_OVERRIDES):
        name = next((name for name in wanted if before[name] != wanted[name]), None)
        if name is None:
            return fitting
        found = []
        for argument, value in _candidates({**arguments, **fitting}, before[name], wanted[name]):
            after = _tried(shapes, fitting | {argument: value})
            fits = after.get(name) == wanted[name]
            if fits and all(after.get(other) in (before[other], wanted[other]) for other in wanted):
                found.append((argument, value, after))
        if len(found) != 1:
            return None
        fitting[found[0][0]], before = found[0][1], found[0][2]
    return fitting if before == wanted else None


def _resized(weight: Shape, want: Shape, have: Shape) -> Shape | None:
    """Returns the shape of a weight whose tensor has shape `have` instead of `want`, or None if it is not clear."""
    if len(want) != len(have):
        return None
    return have if want == weight else have[::-1] if want == weight[::-1] else None


def _candidates(arguments: Mapping[str, Any], before: Shape, after: Shape | None) -> Iterator[tuple[str, int]]:
    """Yields the arguments that may have made a weight's size, with the values that would make the other size."""
    sizes = [] if after is None else [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    for old, new in sizes:
        for name, value in arguments.items():
            if type(value) is int and value > 0 and value * new % old == 0:
                yield name, value * new // old


def _tried(shapes: Callable[[dict[str, Any]], dict[str, Shape]], overrides: dict[str, Any]) -> dict[str, Shape]:
    try:
        return shapes(overrides)
    except VertebraError:  # such as a width that the number of heads does not divide
        return {}
