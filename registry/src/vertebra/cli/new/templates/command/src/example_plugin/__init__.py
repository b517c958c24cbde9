"""The hook that contributes the command; its code is imported when it runs."""

from vertebra import CommandSpec, hookimpl


@hookimpl
def vertebra_commands() -> list[CommandSpec]:
    code = "example_plugin.command"
    help = "list the files of a preset"
    return [CommandSpec("example-name", help, f"{code}:add_arguments", f"{code}:SCHEMA")]
