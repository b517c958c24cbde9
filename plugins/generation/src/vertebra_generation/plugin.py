"""The hooks that contribute the causal language model, and its commands."""

from vertebra import CommandSpec, TaskSpec, hookimpl


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


@hookimpl
def vertebra_commands() -> list[CommandSpec]:
    commands = "vertebra_generation.commands"
    return [
        CommandSpec(
            "generate",
            "write the answer of a language model to a prompt, or to those of files",
            f"{commands}.generate:add_arguments",
            f"{commands}.schema:GENERATE",
        ),
        CommandSpec(
            "chat",
            "talk with a language model in the terminal",
            f"{commands}.chat:add_arguments",
            f"{commands}.schema:CHAT",
        ),
    ]
