"""Errors of presets."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.errors.base import VertebraError, did_you_mean, ended


class PresetError(VertebraError):
    """Root of what can be wrong with a preset."""


class PresetNotFoundError(PresetError, FileNotFoundError):
    """No preset, or no such file in it, stands where the handle points."""

    def __init__(self, handle: object, problem: str, suggestions: Sequence[str] = (), remedy: str = "") -> None:
        self.handle, self.problem, self.suggestions = handle, problem, list(suggestions)
        what = "path or id; vertebra presets lists the built-in ids"
        if "://" in str(handle):
            what = "path" if ":///" in str(handle) else "handle"
        remedy = remedy or f"Check the {what}"
        hint = did_you_mean(self.suggestions)
        super().__init__(f"No preset at {str(handle)!r}: {ended(problem)}{hint} {ended(remedy)}")

    def __str__(self) -> str:  # FileNotFoundError would print errno style
        return str(self.args[0])


class PresetChangedError(PresetError):
    """A preset was replaced, or its files were, each time it was read, so that parts of it may be of two versions."""

    def __init__(self, handle: object, name: str) -> None:
        self.handle, self.name = handle, name
        super().__init__(
            f"Preset {str(handle)!r} is being changed: its file {name!r} was replaced while the preset was read, "
            "and so it was each time that reading was started again. Try again when nothing writes there."
        )


class PresetRefusedError(PresetError, PermissionError):
    """A policy plugin refused the preset before anything was loaded."""

    def __init__(self, handle: object, owner: object, reason: str) -> None:
        self.handle, self.owner, self.reason = handle, owner, reason
        super().__init__(
            f"Preset {str(handle)!r} was refused by the policy of {owner}: {ended(reason)} "
            "Choose a preset that the policy allows, or ask whoever keeps that policy."
        )

    def __str__(self) -> str:
        return str(self.args[0])


class PresetConfigError(PresetError, ValueError):
    """A preset's configuration cannot be used."""

    def __init__(self, place: object, problem: str, remedy: str = "") -> None:
        self.place, self.problem = place, problem
        remedy = remedy or "Correct the file, or fetch the preset again"
        super().__init__(f"{place}: {ended(problem)} {ended(remedy)}")


class PresetFormatError(PresetError, ValueError):
    """A preset format that is unknown here, or that cannot hold this backbone."""

    def __init__(self, place: object, problem: str, known: Sequence[str]) -> None:
        self.place, self.problem, self.known = place, problem, list(known)
        super().__init__(f"{place}: {ended(problem)} Formats that can be used here: {', '.join(known) or 'none'}.")


class FormatLimitError(PresetError, ValueError):
    """A preset format has no way to say what a backbone computes."""

    def __init__(self, format: str, argument: str, value: object, problem: str) -> None:
        self.format, self.argument, self.value, self.problem = format, argument, value, problem
        super().__init__(
            f"The {format} format cannot hold {argument}={value!r}: {problem}. "
            "Nothing was written. Save in the native format, which holds every backbone."
        )


class PresetClassError(PresetError, TypeError):
    """A preset was loaded from a class that it does not belong to."""

    def __init__(self, handle: object, found: str, wanted: str) -> None:
        self.handle, self.found, self.wanted = handle, found, wanted
        super().__init__(
            f"Preset {str(handle)!r} holds a {found}, which is not a {wanted}. "
            f"Call vertebra.models.{found}.from_preset(...), or vertebra.Backbone.from_preset(...) for any class."
        )


class PresetSaveError(PresetError, OSError):
    """A preset or adapter could not be written; what stood there before is unchanged."""

    def __init__(self, target: object, problem: str, remedy: str) -> None:
        self.target, self.problem = target, problem
        super().__init__(
            f"Could not save to {str(target)!r}: {ended(problem)} Nothing there was changed. {ended(remedy)}"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class CertificateError(PresetError):
    """A preset's parity certificate is missing, or does not hold."""

    def __init__(self, handle: object, problem: str, remedy: str) -> None:
        self.handle, self.problem = handle, problem
        super().__init__(f"Preset {str(handle)!r} cannot be vouched for: {ended(problem)} {ended(remedy)}")
