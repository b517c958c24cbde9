"""The hook that contributes the torch runtime."""

from vertebra import Runtime, hookimpl
from vertebra_torch.runtime import TorchRuntime


@hookimpl
def vertebra_runtimes() -> list[Runtime]:
    return [TorchRuntime()]
