"""The error about a torch module that cannot be a backbone."""

from vertebra.errors import VertebraError


class TorchModuleError(VertebraError, ValueError):
    """A torch module cannot be found, cannot be computed, or has something that a backbone cannot have."""

    def __init__(self, module: str, problem: str, remedy: str) -> None:
        self.module, self.problem, self.remedy = module, problem, remedy
        super().__init__(f"Torch module {module}: {problem}. {remedy}.")
