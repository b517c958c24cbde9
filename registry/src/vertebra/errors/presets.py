"""Errors of presets."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.errors.base import VertebraError, did_you_mean, ended
from vertebra.errors.names import failed_plugins


class PresetError(VertebraError):
    """Base class of the errors of presets."""


class PresetNotFoundError(PresetError, FileNotFoundError, ValueError):
    """There is no preset at a handle, or the preset does not have a file."""

    def __init__(self, handle: object, problem: str, suggestions: Sequence[str] = (), remedy: str = "") -> None:
        self.handle, self.problem, self.suggestions = handle, problem, list(suggestions)
        subject = "path or id; vertebra presets lists the built-in ids"
        if "://" in str(handle):
            subject = "path" if ":///" in str(handle) else "handle"
        remedy = remedy or f"Check the {subject}"
        hint = did_you_mean(self.suggestions)
        super().__init__(f"No preset at {str(handle)!r}: {ended(problem)}{hint} {ended(remedy)}")

    def __str__(self) -> str:  # FileNotFoundError would print errno style
        return str(self.args[0])


class PresetChangedError(PresetError):
    """A preset's files changed during each attempt to read it, so it may mix two versions."""

    def __init__(self, handle: object, name: str) -> None:
        self.handle, self.name = handle, name
        super().__init__(
            f"Preset {str(handle)!r} is being changed: its file {name!r} was replaced while the preset was read, "
            "at each attempt to read it. Try again when no process writes to the preset."
        )


class PresetRefusedError(PresetError, PermissionError):
    """A policy plugin refused the preset; nothing was loaded."""

    def __init__(self, handle: object, owner: object, reason: str) -> None:
        self.handle, self.owner, self.reason = handle, owner, reason
        super().__init__(
            f"Preset {str(handle)!r} was refused by the policy of {owner}: {ended(reason)} "
            "Choose a preset that the policy allows, or ask the maintainers of the policy."
        )

    def __str__(self) -> str:
        return str(self.args[0])


class PresetConfigError(PresetError, ValueError):
    """A preset's configuration is invalid."""

    def __init__(self, subject: object, problem: str, remedy: str = "") -> None:
        self.subject, self.problem = subject, problem
        remedy = remedy or "Correct the file, or fetch the preset again"
        super().__init__(f"{subject}: {ended(problem)} {ended(remedy)}")


class PresetFormatError(PresetError, ValueError):
    """A preset format is unknown, or it cannot represent this backbone."""

    def __init__(self, subject: object, problem: str, known: Sequence[str], failed: Sequence[str] = ()) -> None:
        self.subject, self.problem, self.known = subject, problem, list(known)
        self.failed = list(failed)
        """The installed plugins that failed, each with the reason: one of them may contribute the format."""
        choice = f"Choose one of these formats: {', '.join(known) or 'none'}."
        super().__init__(f"{subject}: {ended(problem)} {choice}{failed_plugins(failed)}")


class FormatLimitError(PresetError, ValueError):
    """A preset format cannot represent one of a backbone's arguments."""

    def __init__(self, format: str, argument: str, value: object, problem: str) -> None:
        self.format, self.argument, self.value, self.problem = format, argument, value, problem
        super().__init__(
            f"The {format} format cannot represent {argument}={value!r}: {ended(problem)} "
            "Nothing was written. Save in the native format, which can represent every backbone."
        )


class PresetClassError(PresetError, TypeError, ValueError):
    """A preset was loaded by the `from_preset` of a class that it does not belong to."""

    def __init__(self, handle: object, actual: str, wanted: str) -> None:
        self.handle, self.actual, self.wanted = handle, actual, wanted
        super().__init__(
            f"Preset {str(handle)!r} holds a {actual}, which is not a {wanted}. "
            f"Call vertebra.models.{actual}.from_preset(...), or vertebra.Backbone.from_preset(...) for any class."
        )


class PresetSaveError(PresetError, OSError):
    """A preset or adapter could not be written; the files at the target are unchanged."""

    def __init__(self, target: object, problem: str, remedy: str) -> None:
        self.target, self.problem = target, problem
        super().__init__(
            f"Could not save to {str(target)!r}: {ended(problem)} The target is unchanged. {ended(remedy)}"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class CertificateError(PresetError):
    """A preset's parity certificate is missing, or does not match the preset."""

    def __init__(self, handle: object, problem: str, remedy: str) -> None:
        self.handle, self.problem = handle, problem
        super().__init__(f"Preset {str(handle)!r} cannot be certified: {ended(problem)} {ended(remedy)}")
