"""Errors of runtimes."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.errors.base import VertebraError, ended


class RuntimeUnavailableError(VertebraError, ImportError):
    """A runtime is installed, but its backend cannot be used on this machine."""

    def __init__(self, runtime: str, reason: str) -> None:
        self.runtime, self.reason = runtime, reason
        super().__init__(f"Runtime {runtime!r} is not available: {ended(reason)}")


class RuntimeChoiceError(VertebraError):
    """No runtime was chosen, and there are several runtimes or none."""

    def __init__(self, available: Sequence[str], commands: Sequence[str] = ()) -> None:
        self.available = list(available)
        self.commands = list(commands)
        """The commands that install a runtime with its backend, each another one."""
        if available:
            problem = f"{len(available)} runtimes can be used ({', '.join(available)}) and none was chosen"
            remedy = (
                f'Choose with vertebra.use("{available[0]}"), runtime="{available[0]}", VERTEBRA_RUNTIME or --runtime'
            )
        else:
            problem = "No runtime is installed"
            remedy = "Install a runtime plugin together with its backend; vertebra doctor reports what to install"
            if commands:
                remedy = f"Install one with its backend: {' or '.join(commands)}"
        super().__init__(f"{ended(problem)} {ended(remedy)}")


class RuntimeBoundError(VertebraError):
    """Keras is already bound to another backend in this process."""

    def __init__(self, wanted: str, bound: str, user: str = "") -> None:
        self.wanted, self.bound, self.user = wanted, bound, user
        needs = f"{user} needs the runtime {wanted!r}" if user else f"Runtime {wanted!r} was requested"
        super().__init__(
            f"{needs}, but Keras already runs on {bound!r} and cannot change its backend in a "
            f"running process. Start a new process and choose before Keras is imported: VERTEBRA_RUNTIME={wanted}, "
            f'or vertebra.use("{wanted}") as the first line.'
        )


class ForkedProcessError(VertebraError, RuntimeError):
    """A backend was used in a process that was forked after its threads had started, which a fork does not copy."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        super().__init__(
            f"This process was forked from one that had used {backend}, whose threads a fork does not copy: a "
            f"computation would wait for ever. Start processes that use a backbone with "
            'multiprocessing.get_context("spawn") or "forkserver"; or fork before the first backbone is loaded.'
        )


class DtypeChangeError(VertebraError, TypeError):
    """A call would convert a model's variables to a dtype that its dtype policy does not use in computations."""

    def __init__(self, model: str, wanted: str, policy: str) -> None:
        self.model, self.wanted, self.policy = model, wanted, policy
        super().__init__(
            f"The variables of {model} cannot be converted to {wanted}: Keras computes in the dtype of the policy "
            f"{policy!r}. Load or build the model with the dtype: from_preset(..., dtype={wanted!r})."
        )


class ReplacedWeightsError(VertebraError, RuntimeError):
    """A tool of the backend holds the weights of a model in tensors of its own, so that Keras's variables are stale."""

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"The weights of {model} are not in Keras's variables: a tool such as FSDP's fully_shard holds them in "
            "tensors of its own. Load the full state dict (get_model_state_dict with full_state_dict=True, of "
            "torch.distributed.checkpoint.state_dict) into another backbone with load_state_dict, and use that one."
        )
