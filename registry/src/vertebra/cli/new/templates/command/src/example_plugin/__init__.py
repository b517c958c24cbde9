"""The hook that contributes the command; its code is imported when it runs."""

from vertebra import CommandSpec, hookimpl


@hookimpl
def vertebra_commands() -> list[CommandSpec]:
    code = "example_plugin.command:add_arguments"
    return [CommandSpec("example-name", "list the files of a preset", code)]
