"""`vertebra push DIR URI`: publishes a preset or adapter at a source."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vertebra.cli.output import bytes_text, plain_warnings, print_json
from vertebra.cli.progress import busy
from vertebra.cli.terminal.streams import say


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "check a preset or LoRA adapter, publish it, and print its pinned handle"
    parser = commands.add_parser("push", help=text, description=text)
    parser.add_argument(
        "preset", metavar="DIR", help="the folder or handle of a preset or adapter, an adapter's file, or a preset id"
    )
    parser.add_argument("uri", metavar="URI", help="the handle or path to publish at")
    parser.add_argument("--replace", action="store_true", help="replace a preset or adapter that is already there")
    parser.add_argument("--message", help="a message for the new revision, if the source keeps messages")
    signing = "sign the preset with the private key in this file (PEM), with a plugin for signatures"
    parser.add_argument("--sign", type=Path, metavar="KEY", help=signing)
    chain = "the certificate of the key, and those between it and the root, each in a file; may be repeated"
    parser.add_argument("--certificate", type=Path, action="append", default=[], metavar="FILE", help=chain)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run, parser=parser)


def _run(args: argparse.Namespace) -> int:
    plain_warnings()
    from vertebra._presets.publish import SigningKey, upload

    if args.certificate and args.sign is None:
        args.parser.error("--certificate needs --sign")
    signing = None if args.sign is None else SigningKey(args.sign, args.certificate)
    with busy("uploading"):
        result = upload(args.uri, args.preset, args.replace, args.message, any_runtime=True, signing=signing)
    notes = list(result.notes)
    if args.json:
        facts = {"handle": str(result.handle), "files": list(result.files), "bytes": result.size, "notes": notes}
        print_json(facts | {"signed": signing is not None})
        return 0
    say(result.handle)
    say(f"  {len(result.files)} files, {bytes_text(result.size)}{', signed' if signing else ''}")
    for note in notes:
        say(f"  note: {note}")
    return 0
