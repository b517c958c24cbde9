"""`vertebra example-name PRESET`: lists the files of a preset."""

import json
from argparse import ArgumentParser, Namespace

from vertebra import open_files

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Output of vertebra example-name --json: the names of the files",
    "type": "array",
    "items": {"type": "string"},
}
"""The JSON Schema of the output with `--json`."""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments, and names the function that runs."""
    parser.add_argument("preset", help="a built-in id, a handle or a path")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Runs the command, and returns its exit status. An error of `vertebra.errors` is shown as one line."""
    files = open_files(args.preset)  # downloads the list; files.fetch(name) downloads a file
    names = sorted(files.names)
    print(json.dumps(names, indent=2) if args.json else "\n".join(names))
    return 0
