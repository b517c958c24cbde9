"""The contributions of the plugin."""

from vertebra import TaskSpec, hookimpl


@hookimpl
def vertebra_tasks() -> list[TaskSpec]:
    return []
