"""The hook that contributes the runtime. This module must import no framework."""

from vertebra import Runtime, hookimpl

from example_plugin.runtime import ExamplePluginRuntime


@hookimpl
def vertebra_runtimes() -> list[Runtime]:
    return [ExamplePluginRuntime()]
