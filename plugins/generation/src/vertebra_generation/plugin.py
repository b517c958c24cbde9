"""The hooks that contribute the causal language model."""

from vertebra import TaskSpec, hookimpl


@hookimpl
def vertebra_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            "CausalLM",
            "vertebra_generation.causal_lm:CausalLM",
            "the next token of a text",
            "vertebra_generation.task_files.describe:describe",
        )
    ]
