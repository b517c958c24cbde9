"""Errors of LoRA adapters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vertebra.errors.base import VertebraError, close_names, did_you_mean, ended, shorten


class LoraError(VertebraError):
    """Base class of the errors of LoRA adapters."""


class LoraTargetError(LoraError, ValueError):
    """A LoRA target matches no layer, or matches a layer that cannot have an adapter."""

    def __init__(self, target: object, problem: str, candidates: Iterable[str]) -> None:
        self.target, self.problem = target, problem
        self.candidates = sorted(candidate for candidate in candidates if candidate != target)
        hints = close_names(str(target), self.candidates) if target is not None else []
        choice = (
            f"Choose from: {shorten(self.candidates)}." if self.candidates else "Remove it, or choose another target."
        )
        subject = "LoRA targets" if target is None else f"LoRA target {target!r}"
        super().__init__(f"{subject}: {ended(problem)}{did_you_mean(hints)} {choice}")


class LoraDeclarationError(LoraError, TypeError):
    """A backbone class has an invalid `lora_roles` or `lora_targets` declaration."""

    def __init__(self, owner: str, attribute: str, value: object, expected: str, remedy: str = "") -> None:
        self.owner, self.attribute, self.value, self.expected = owner, attribute, value, expected
        remedy = remedy or "Correct the declaration in the class"
        super().__init__(f"{owner}.{attribute} is {value!r}, expected {ended(expected)} {ended(remedy)}")


class LoraStrategyError(LoraError):
    """A LoRA strategy breaks a rule of the strategy interface, so it would train or merge incorrectly."""

    def __init__(self, strategy: str, owner: object, problem: str) -> None:
        self.strategy, self.owner, self.problem = strategy, owner, problem
        super().__init__(
            f"LoRA strategy {strategy!r} of {owner}: {ended(problem)} Update the plugin, or choose another strategy; "
            "vertebra strategies lists them."
        )


class LoraStateError(LoraError, ValueError):
    """The operation needs a backbone without adapters, or a backbone with adapters."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        super().__init__(f"{ended(problem)} {ended(remedy)}")


class LoraConfigError(LoraError, ValueError):
    """A LoRA setting is missing, unknown or out of range; a value of `...` means that it is missing."""

    def __init__(self, subject: object, field: str, value: object, expected: str, remedy: str = "") -> None:
        self.subject, self.field, self.value, self.expected = subject, field, value, expected
        given = f"{field} is missing" if value is ... else f"{field}={value!r}"
        remedy = remedy or "Correct the value and try again"
        super().__init__(f"{subject}: {given}, expected {ended(expected)} {ended(remedy)}")


class AdapterNotFoundError(LoraError, FileNotFoundError):
    """There is no adapter at a path or handle."""

    def __init__(self, path: object, problem: str = "nothing is there", suggestions: Sequence[str] = ()) -> None:
        self.path, self.problem, self.suggestions = path, problem, list(suggestions)
        super().__init__(
            f"No adapter at {str(path)!r}: {ended(problem)}{did_you_mean(self.suggestions)} Check the path or handle: "
            "an adapter is a .safetensors or .lora.h5 file, or a folder with an adapter_config.json."
        )

    def __str__(self) -> str:  # FileNotFoundError would print errno style
        return str(self.args[0])


class AdapterMismatchError(LoraError, ValueError):
    """An adapter's tensors do not match the layers of the backbone."""

    def __init__(self, adapter: object, problem: str, names: Sequence[str] = (), remedy: str = "") -> None:
        self.adapter, self.problem, self.names = adapter, problem, list(names)
        listed = f": {shorten(self.names)}" if names else ""
        remedy = remedy or "Load it into the architecture that it was trained on"
        given = ended(f"{problem}{listed}")
        super().__init__(f"Adapter {str(adapter)!r} {given} {ended(remedy)} The backbone is unchanged.")


class AdapterBaseError(LoraError, ValueError):
    """An adapter was trained on different base weights."""

    def __init__(self, adapter: object, trained_on: str, actual: str) -> None:
        self.adapter, self.trained_on, self.actual = adapter, trained_on, actual
        super().__init__(
            f"Adapter {str(adapter)!r} was trained on different base weights (fingerprint {trained_on[:12]}) than this "
            f"backbone has (fingerprint {actual[:12]}). Load the preset that the adapter was trained on, or pass "
            "check_base=False if the difference is intended; the backbone is unchanged."
        )
