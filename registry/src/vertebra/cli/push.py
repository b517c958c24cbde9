"""`vertebra push DIR URI`: publishes a preset where others load it from."""

from __future__ import annotations

import argparse
from typing import Any

from vertebra.cli.output import bytes_text, plain_warnings, print_json, printable
from vertebra.cli.progress import busy


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "check a preset and publish it, whole or not at all; prints the handle of just this revision"
    parser = commands.add_parser("push", help=text, description=text)
    parser.add_argument("preset", metavar="DIR", help="a preset folder, or anything else that can be loaded")
    parser.add_argument("uri", metavar="URI", help="where to: a handle or a path")
    parser.add_argument("--replace", action="store_true", help="replace another preset that stands there")
    parser.add_argument("--message", help="the reason, for places that keep one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(chosen: argparse.Namespace) -> int:
    plain_warnings()
    from vertebra._presets.publish import upload

    with busy("uploading"):
        done = upload(chosen.uri, chosen.preset, chosen.replace, chosen.message, any_runtime=True)
    if chosen.json:
        facts = {"handle": str(done.handle), "files": list(done.files), "bytes": done.size, "notes": list(done.notes)}
        print_json(facts)
        return 0
    print(done.handle)
    print(f"  {len(done.files)} files, {bytes_text(done.size)}")
    for note in done.notes:
        print(f"  note: {printable(note)}")
    return 0
