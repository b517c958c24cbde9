"""The hook that contributes the jax runtime."""

from vertebra import Runtime, hookimpl
from vertebra_jax.runtime import JaxRuntime


@hookimpl
def vertebra_runtimes() -> list[Runtime]:
    return [JaxRuntime()]
