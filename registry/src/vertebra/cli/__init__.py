"""The `vertebra` command; each group of subcommands is in a file of its own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from vertebra.cli import demo, doctor, inspect, listing
from vertebra.errors import VertebraError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C."""
    chosen = build_parser().parse_args(arguments)
    try:
        status: int = chosen.run(chosen)
        sys.stdout.flush()
    except VertebraError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone, as in `vertebra presets | head`: end quietly, also when Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command."""
    parser = argparse.ArgumentParser(prog="vertebra", description="Registry of model backbones.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(run=_print_version_or_help(parser))
    commands = parser.add_subparsers(metavar="COMMAND")
    for group in (listing, inspect, doctor, demo):
        group.add_commands(commands)
    return parser


def _print_version_or_help(parser: argparse.ArgumentParser) -> object:
    def run(chosen: argparse.Namespace) -> int:
        if not chosen.version:
            parser.print_help()
            return 2
        from importlib.metadata import version

        print(f"vertebra {version('vertebra')}")
        return 0

    return run
