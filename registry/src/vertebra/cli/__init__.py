"""The `vertebra` command; each module of this package defines one group of subcommands."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` takes as long to import as all of this package until `main` runs
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C.

    No failure ends in a traceback, except an unexpected one in Python's development mode.

    Args:
        arguments: The words of the command line, or None for those of the process, which is then the command's own.
    """
    try:
        from vertebra.cli.controls.command import run_command  # here, as Ctrl-C during the imports is one, too

        return run_command(arguments)
    except KeyboardInterrupt as interrupt:
        from vertebra.errors import printable

        words = ["interrupted", *getattr(interrupt, "__notes__", ())]
        if sys.stderr is not None:  # closed, and not replaced yet
            sys.stderr.write(f"{printable(' '.join(words))}\n")
        return 130
