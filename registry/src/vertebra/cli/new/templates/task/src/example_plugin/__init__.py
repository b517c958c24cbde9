"""The hook that contributes the task. This module must import no framework: it names the code that does."""

from vertebra import TaskSpec, hookimpl


@hookimpl
def vertebra_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            "ExamplePlugin",
            "example_plugin.task:ExamplePlugin",
            "a number from 0 to 1 for a text",
            "vertebra_text.task_files.describe:describe",  # what `save_to_preset` writes, for `vertebra inspect`
        )
    ]
