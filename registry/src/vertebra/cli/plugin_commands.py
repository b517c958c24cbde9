"""The commands that plugins contribute; the code of a command is imported when it is the wanted one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from vertebra._discovery import catalog
from vertebra.errors import VertebraError
from vertebra.specs import resolve_reference


def add_commands(commands: Any, taken: Sequence[str], wanted: Sequence[str]) -> None:
    """Adds the commands of plugins.

    Args:
        commands: The parser's subcommands.
        taken: The names of the core's commands.
        wanted: The first word of the command line, if there is one.
    """
    with contextlib.suppress(VertebraError):  # settings that cannot be met; the command that runs tells them
        for entry in catalog.catalog(catalog.COMMANDS):
            if entry.name not in taken:
                parser = commands.add_parser(entry.name, help=entry.value.help, description=entry.value.help)
                if entry.name in wanted:
                    resolve_reference(entry.value.command)(parser)
