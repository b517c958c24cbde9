"""The `vertebra` command; each module of this package defines one group of subcommands."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from vertebra.cli.output import printable
from vertebra.errors import VertebraError

_LISTINGS = ("plugins", "backbones", "presets", "sources", "strategies", "runtimes")
COMMANDS = dict.fromkeys(_LISTINGS, "listing") | {"inspect": "inspect", "doctor": "doctor", "demo": "demo"}
COMMANDS |= {name: name for name in ("convert", "verify", "plan", "lora", "cache", "lock", "push", "completion")}
COMMANDS |= {"pull": "pull", "bundle": "pull"}
"""The module of each command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    args = build_parser(words[:1]).parse_args(words)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except VertebraError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"note: {printable(note)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader closed the pipe, as in `vertebra presets | head`: exit quietly, also when Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def build_parser(wanted: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Returns the parser of the wanted command, or of all; only modules of commands in the parser are imported."""
    parser = argparse.ArgumentParser(
        prog="vertebra", description="List, fetch, inspect, convert and share presets of model backbones."
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(run=_print_version_or_help(parser))
    commands = parser.add_subparsers(metavar="COMMAND")
    modules = [COMMANDS[name] for name in wanted if name in COMMANDS] or dict.fromkeys(COMMANDS.values())
    for module in modules:
        importlib.import_module(f"vertebra.cli.{module}").add_commands(commands)
    return parser


def _print_version_or_help(parser: argparse.ArgumentParser) -> object:
    def run(args: argparse.Namespace) -> int:
        if not args.version:
            parser.print_help()
            return 2
        from importlib.metadata import version

        print(f"vertebra {version('vertebra')}")
        return 0

    return run
