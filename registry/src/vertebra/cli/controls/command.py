"""Runs the command: finds the subcommand, and turns every failure into a line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Sequence

from vertebra._discovery.core_commands import LISTINGS, MODULES
from vertebra.cli.output import print_error
from vertebra.cli.parser import Parser
from vertebra.cli.terminal.streams import flush_or_discard, prepare_streams, say
from vertebra.errors import PluginWarning, VertebraError, exception_text

_NO_PRESET = {*LISTINGS, "doctor", "cache", "completion", "new", "config", "schema"}
"""Commands that load no preset, or that name the plugins that cannot be used in their own way."""


def run_command(arguments: Sequence[str] | None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: The words of the command line, or None for those of the process.

    Raises:
        KeyboardInterrupt: as Python raised it.
    """
    prepare_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and words[:1] and words[0] in LISTINGS:
        from vertebra._discovery.forks import go_on_in_fork  # other commands cannot go on without a plugin

        status = go_on_in_fork()
        if status is not None:
            return status
    warnings.simplefilter("ignore", PluginWarning)  # the commands name the plugins themselves
    try:
        try:
            status = _run(words)
        except VertebraError as error:
            print_error(error)
            status = 1
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe, as in `vertebra presets | head`
        flush_or_discard()
        return 141
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        say(f"error: {_unexpected(error)}", file=sys.stderr)
        flush_or_discard()
        return 1
    return status


def _run(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    args = build_parser(words[:1]).parse(words)
    if args.version:
        from importlib.metadata import version

        say(f"vertebra {version('vertebra')}")
        return 0
    try:
        return _run_parsed(args)
    finally:
        if words and words[0] not in _NO_PRESET:
            from vertebra.cli.controls.unused_plugins import print_unused_plugins

            print_unused_plugins()


def _run_parsed(args: argparse.Namespace) -> int:
    if "command_entry" in args:
        from vertebra.cli.controls.plugin_commands import run

        return run(args)
    status: int = args.run(args)
    return status


def _unexpected(error: Exception) -> str:
    """Returns the text for an exception that is not Vertebra's: that of the system, or one for a report of a bug."""
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return ": ".join([*names, error.strerror])
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(exception_text(error).split())
    return f"{text} (unexpected, in {last.filename}, line {last.lineno}; PYTHONDEVMODE=1 shows the traceback)"


def build_parser(wanted: Sequence[str] = (), plugins: bool = False) -> Parser:
    """Returns the parser of the wanted command, or of all; only modules of commands in the parser are imported.

    Args:
        wanted: The first word of the command line, if there is one.
        plugins: Whether commands of plugins are included if none is wanted, which takes as long as a listing.

    Raises:
        VertebraError: the wanted command is none of the core, and the settings of plugins cannot be met.
    """
    parser = Parser(
        prog="vertebra",
        description="List, fetch, inspect, convert and share presets of model backbones.",
        epilog="vertebra help COMMAND shows the arguments of a command; vertebra commands lists those of plugins.",
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version and exit")

    def print_help(_: object) -> int:
        parser.print_help()
        return 2

    parser.set_defaults(run=print_help)
    commands = parser.add_subparsers(metavar="COMMAND")
    modules = [MODULES[name] for name in wanted if name in MODULES] or dict.fromkeys(MODULES.values())
    for module in modules:
        importlib.import_module(f"vertebra.cli.{module}").add_commands(commands)
    if plugins or not all(name in MODULES or name.startswith("-") for name in wanted):
        from vertebra.cli.controls.plugin_commands import add_plugin_commands

        add_plugin_commands(commands, wanted)
    commands._choices_actions.sort(key=lambda action: action.dest)  # argparse lists commands as they were added
    return parser
