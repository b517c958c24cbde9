"""`vertebra example-name PRESET`: lists the files of a preset, with their sizes."""

import json
from argparse import ArgumentParser, Namespace

from vertebra import open_files

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Output of vertebra example-name --json: the size of each file in bytes",
    "type": "object",
    "additionalProperties": {"type": "integer", "minimum": 0},
}
"""The JSON Schema of the output with `--json`; `vertebra schema example-name` prints it."""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments, and names the function that runs."""
    parser.add_argument("preset", help="a built-in id, a handle or a path")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Runs the command, and returns its exit status. An error of `vertebra.errors` is shown as one line."""
    files = open_files(args.preset)
    sizes = {name: files.fetch(name).stat().st_size for name in files.names}
    if args.json:
        print(json.dumps(sizes, indent=2))
        return 0
    for name, size in sizes.items():
        print(f"{size:>15,}  {name}")
    return 0
