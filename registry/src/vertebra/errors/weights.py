"""Errors of weights files."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.errors.base import ended, listing
from vertebra.errors.presets import PresetError


class WeightsFileError(PresetError, ValueError):
    """A weights file is missing, cut short, too long or not what it says it is."""

    def __init__(self, path: object, problem: str, remedy: str = "") -> None:
        self.path, self.problem = path, problem
        super().__init__(
            f"Weights file {str(path)!r}: {ended(problem)} {ended(remedy or 'Fetch or save the preset again')}"
        )


class WeightsMismatchError(PresetError, ValueError):
    """The tensors in the files are not those that the architecture needs."""

    def __init__(
        self,
        place: object,
        missing: Sequence[str] = (),
        unused: Sequence[str] = (),
        reshaped: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]] = (),
        retyped: Sequence[str] = (),
    ) -> None:
        self.place = place
        self.missing, self.unused = list(missing), list(unused)
        self.reshaped, self.retyped = list(reshaped), list(retyped)
        shapes = [f"{name} (needed {want}, found {have})" for name, want, have in reshaped]
        parts = [
            listing("missing", self.missing),
            listing("not used by the architecture", self.unused),
            listing("of another shape", shapes),
            listing("of another kind of number", self.retyped),
        ]
        super().__init__(
            f"The weights in {str(place)!r} do not fit the backbone: {'; '.join(filter(None, parts))}. "
            "Check that config and weights belong together, and constructor arguments given to from_preset."
        )
