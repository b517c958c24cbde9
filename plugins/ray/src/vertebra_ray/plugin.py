"""The hook that contributes `--ray` to the commands over files."""

from vertebra import CommandOptionSpec, hookimpl


@hookimpl
def vertebra_command_options() -> list[CommandOptionSpec]:
    commands = ("embed", "classify", "tag", "rerank")
    return [CommandOptionSpec("ray", commands, "vertebra_ray.options:add_options")]
