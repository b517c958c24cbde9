"""Errors of runtimes."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.errors.base import VertebraError, ended


class RuntimeUnavailableError(VertebraError, ImportError):
    """A runtime is known, and its backend cannot be used on this machine."""

    def __init__(self, runtime: str, reason: str) -> None:
        self.runtime, self.reason = runtime, reason
        super().__init__(f"Runtime {runtime!r} is not available: {ended(reason)}")


class RuntimeChoiceError(VertebraError):
    """No runtime was chosen, and there is not exactly one to take."""

    def __init__(self, available: Sequence[str]) -> None:
        self.available = list(available)
        if available:
            problem = f"{len(available)} runtimes are installed ({', '.join(available)}) and none was chosen"
            remedy = (
                f'Choose with vertebra.use("{available[0]}"), runtime="{available[0]}", VERTEBRA_RUNTIME or --runtime'
            )
        else:
            problem = "No runtime is installed"
            remedy = "Install a runtime plugin together with its backend; vertebra doctor says what is missing"
        super().__init__(f"{ended(problem)} {ended(remedy)}")


class RuntimeBoundError(VertebraError):
    """Keras is already bound to another backend in this process."""

    def __init__(self, wanted: str, bound: str) -> None:
        self.wanted, self.bound = wanted, bound
        super().__init__(
            f"Runtime {wanted!r} was asked for, but Keras already runs on {bound!r}, and it cannot change in a "
            f"running process. Start a new process, and choose before Keras is imported: VERTEBRA_RUNTIME={wanted}, "
            f'or vertebra.use("{wanted}") as the first line.'
        )


class DtypeChangeError(VertebraError, TypeError):
    """A model's numbers were to become others than its dtype policy says, which would change nothing it computes."""

    def __init__(self, model: str, wanted: str, policy: str) -> None:
        self.model, self.wanted, self.policy = model, wanted, policy
        super().__init__(
            f"The parameters of {model} cannot become {wanted}: Keras computes as the dtype policy {policy!r} says, "
            f"whatever they are. Load or build the model with the dtype: from_preset(..., dtype={wanted!r})."
        )
