"""Commands of plugins: their parsers, results and exceptions, which are attributed to the plugin."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from vertebra._discovery import catalog
from vertebra._discovery.catalog import COMMAND_OPTIONS, COMMANDS, Entry
from vertebra.cli.output import print_error
from vertebra.cli.parser import Parser
from vertebra.errors import PluginError, VertebraError, exception_text
from vertebra.errors.base import shown
from vertebra.specs import CommandSpec

_REPORT = "Report the error to the authors of the plugin"


def add_plugin_commands(commands: Any, wanted: Sequence[str]) -> None:
    """Adds the commands that plugins contribute; the code of a command is imported when it is the wanted one.

    Without a wanted one, commands whose code fails are left out, with a line on stderr.

    Raises:
        NameClashError: several plugins contribute the wanted command.
        PluginError: its code cannot be used.
    """
    found = catalog.catalog(COMMANDS)
    for name in wanted:
        if name in found:
            found.lookup(name)  # raises for a clash
    for entry in found:
        try:
            _add(commands, entry, has_arguments=entry.name in wanted or not wanted)
        except PluginError as error:
            if wanted:
                raise
            commands.choices.pop(entry.name, None)
            commands._choices_actions[:] = [one for one in commands._choices_actions if one.dest != entry.name]
            print_error(error)


def _add(commands: Any, entry: Entry[CommandSpec], has_arguments: bool) -> None:
    text = entry.value.help
    parser = commands.add_parser(entry.name, help=text.replace("%", "%%"), description=text)
    if has_arguments:
        add_arguments(parser, entry)


def add_arguments(parser: argparse.ArgumentParser, entry: Entry[CommandSpec]) -> None:
    """Calls the plugin's function that adds the arguments of a command.

    Raises:
        PluginError: it cannot be imported, fails, or sets no function to run.
    """
    add = catalog.imported(entry, entry.value.command)
    try:
        add(parser)
        parser.format_help()  # fails for a help text with a lonely %
    except (Exception, SystemExit) as error:
        raise _error(entry, f"its function {entry.value.command} failed", error) from error
    _add_options_of_others(parser, entry.name)
    parser.set_defaults(command_entry=entry)
    if callable(parser.get_default("run")):
        return
    if any(isinstance(action, argparse._SubParsersAction) for action in parser._actions):
        parser.set_defaults(run=lambda _: parser.error("name an action"))  # of a group that does not require one
    else:
        problem = f"{entry.value.command} sets no function to run: parser.set_defaults(run=...)"
        raise PluginError(entry.owner.distribution, problem, _REPORT)


def _add_options_of_others(parser: argparse.ArgumentParser, command: str) -> None:
    """Adds the options that further plugins contribute to a command.

    Raises:
        PluginError: the function of such a plugin cannot be imported, or fails.
    """
    for entry in catalog.catalog(COMMAND_OPTIONS):
        if command in entry.value.commands:
            add = catalog.imported(entry, entry.value.add)
            try:
                add(parser)
                parser.format_help()
            except (Exception, SystemExit) as error:
                raise _error(entry, f"its function {entry.value.add} failed for vertebra {command}", error) from error


def run(args: argparse.Namespace) -> int:
    """Runs a command of a plugin, and returns its exit status.

    Raises:
        PluginError: the command of a plugin failed in a way that is not an error of Vertebra or of the system, or
            returned something else than an exit status.
    """
    function: Callable[[argparse.Namespace], Any] = args.run
    entry: Entry[CommandSpec] = args.command_entry
    try:
        status = function(args)
    except (VertebraError, OSError, MemoryError):
        raise
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        raise _error(entry, f"its command {entry.name} failed", error) from error
    if status is None:
        return 0
    if type(status) is not int:
        problem = f"its command {entry.name} returned {shown(status)}, expected an exit status: 0, or 1 after an error"
        raise PluginError(entry.owner.distribution, problem, _REPORT)
    return status


def _error(entry: Entry[Any], problem: str, error: BaseException) -> PluginError:
    import traceback  # only errors need it

    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(exception_text(error).split())
    where = f"{text}, in {last.filename}, line {last.lineno}; PYTHONDEVMODE=1 shows the traceback"
    return PluginError(entry.owner.distribution, f"{problem} ({where})", _REPORT)


def broken_commands(plugin: str) -> list[str]:
    """Returns why commands of a plugin, or the schemas that they name, cannot be used."""
    problems = []
    for entry in catalog.catalog(COMMANDS).claims():
        if entry.plugin == plugin:
            try:
                add_arguments(Parser(prog=f"vertebra {entry.name}"), entry)
                if entry.value.schema:
                    schema_of(entry)
            except PluginError as error:
                problems.append(error.problem)
    return problems


def schema_of(entry: Entry[CommandSpec]) -> dict[str, Any]:
    """Returns the JSON Schema that a command names.

    Raises:
        PluginError: it cannot be imported, or is no JSON object.
    """
    schema = catalog.imported(entry, entry.value.schema)
    try:
        if isinstance(schema, dict):
            json.dumps(schema)
            return schema
    except (TypeError, ValueError, RecursionError):  # a value that JSON does not have, or a loop
        pass
    problem = f"{entry.value.schema} is {shown(schema)}, expected a JSON Schema as a dict of values that JSON has"
    raise PluginError(entry.owner.distribution, problem, _REPORT)
