"""Errors of LoRA adapters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vertebra.errors.base import VertebraError, close_names, did_you_mean, ended, shorten


class LoraError(VertebraError):
    """Root of what can be wrong with a LoRA adapter."""


class LoraTargetError(LoraError, ValueError):
    """A LoRA target that names no layer, or a layer that cannot take an adapter."""

    def __init__(self, target: object, problem: str, candidates: Iterable[str]) -> None:
        self.target, self.problem = target, problem
        self.candidates = sorted(candidate for candidate in candidates if candidate != target)
        hints = close_names(str(target), self.candidates) if target is not None else []
        choice = f"Choose among: {shorten(self.candidates)}." if self.candidates else "Leave it out, or choose others."
        subject = "LoRA targets" if target is None else f"LoRA target {target!r}"
        super().__init__(f"{subject}: {ended(problem)}{did_you_mean(hints)} {choice}")


class LoraDeclarationError(LoraError, TypeError):
    """What a backbone class declares for LoRA, in `lora_roles` or `lora_targets`, cannot be used."""

    def __init__(self, owner: str, attribute: str, value: object, expected: str, remedy: str = "") -> None:
        self.owner, self.attribute, self.value, self.expected = owner, attribute, value, expected
        remedy = remedy or "Correct the class"
        super().__init__(f"{owner}.{attribute} is {value!r}, expected {ended(expected)} {ended(remedy)}")


class LoraStrategyError(LoraError):
    """A LoRA strategy breaks a rule that all of them keep, so that it would train or merge wrongly."""

    def __init__(self, strategy: str, owner: object, problem: str) -> None:
        self.strategy, self.owner, self.problem = strategy, owner, problem
        super().__init__(
            f"LoRA strategy {strategy!r} of {owner}: {problem}. Update the plugin, or choose another strategy; "
            "vertebra strategies lists them."
        )


class LoraStateError(LoraError):
    """The backbone has an adapter where it should have none, or none where it needs one."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        super().__init__(f"{ended(problem)} {ended(remedy)}")


class LoraConfigError(LoraError, ValueError):
    """A LoRA setting out of range, or one that is not known here."""

    def __init__(self, place: object, field: str, value: object, expected: str, remedy: str = "") -> None:
        self.place, self.field, self.value, self.expected = place, field, value, expected
        remedy = remedy or "Correct the value and try again"
        super().__init__(f"{place}: {field}={value!r}, expected {ended(expected)} {ended(remedy)}")


class AdapterNotFoundError(LoraError, FileNotFoundError):
    """No adapter stands at a path."""

    def __init__(self, path: object) -> None:
        self.path = path
        super().__init__(
            f"No adapter at {str(path)!r}. Check the path: an adapter is a .safetensors or .lora.h5 file, or a folder "
            "with an adapter_config.json."
        )

    def __str__(self) -> str:  # FileNotFoundError would print errno style
        return str(self.args[0])


class AdapterMismatchError(LoraError, ValueError):
    """An adapter's tensors are not those that the backbone can take."""

    def __init__(self, place: object, problem: str, names: Sequence[str] = (), remedy: str = "") -> None:
        self.place, self.problem, self.names = place, problem, list(names)
        listed = f": {shorten(self.names)}" if names else ""
        remedy = remedy or "Load it on the architecture it was trained on"
        super().__init__(f"Adapter {str(place)!r} {problem}{listed}. {remedy}; the backbone is unchanged.")


class AdapterBaseError(LoraError, ValueError):
    """An adapter was trained on other base weights."""

    def __init__(self, place: object, trained_on: str, found: str) -> None:
        self.place, self.trained_on, self.found = place, trained_on, found
        super().__init__(
            f"Adapter {str(place)!r} was trained on other base weights (fingerprint {trained_on[:12]}) than this "
            f"backbone has (fingerprint {found[:12]}). Load the preset it was trained on, or pass check_base=False "
            "if the difference is intended; the backbone is unchanged."
        )
