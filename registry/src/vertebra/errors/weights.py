"""Errors of weights files."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.errors.base import ended, listing
from vertebra.errors.presets import PresetError


class WeightsFileError(PresetError, ValueError):
    """A weights file is missing, truncated, too long or malformed."""

    def __init__(self, path: object, problem: str, remedy: str = "") -> None:
        self.path, self.problem = path, problem
        super().__init__(
            f"Weights file {str(path)!r}: {ended(problem)} {ended(remedy or 'Fetch or save the preset again')}"
        )


class WeightsNotFoundError(WeightsFileError, FileNotFoundError):
    """A weights file of a preset is missing."""

    def __str__(self) -> str:  # FileNotFoundError would print errno style
        return str(self.args[0])


class WeightsMismatchError(PresetError, ValueError):
    """The tensors in the weights files do not match the variables of the architecture."""

    def __init__(
        self,
        subject: object,
        missing: Sequence[str] = (),
        unused: Sequence[str] = (),
        reshaped: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]] = (),
        retyped: Sequence[str] = (),
        cause: str = "",
        remedy: str = "",
    ) -> None:
        self.subject, self.cause, self.remedy = subject, cause, remedy
        self.missing, self.unused = list(missing), list(unused)
        self.reshaped, self.retyped = list(reshaped), list(retyped)
        shapes = [f"{name} (expected {want}, found {have})" for name, want, have in reshaped]
        problems = [
            cause,
            listing("missing", self.missing),
            listing("not used by the architecture", self.unused),
            listing("of the wrong shape", shapes),
            listing("of the wrong dtype", self.retyped),
        ]
        remedy = remedy or (
            "Check that config and weights belong to the same model, and check the arguments that replace the config's"
        )
        super().__init__(
            f"The weights in {str(subject)!r} do not fit the backbone: {'; '.join(filter(None, problems))}. "
            f"{ended(remedy)}"
        )
