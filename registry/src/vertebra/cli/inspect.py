"""`vertebra inspect PRESET`: describes a preset from its config and the headers of its weights files alone."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from vertebra._presets.inspect import inspect_preset
from vertebra._presets.load_warnings import untied_logits_text
from vertebra.cli.output import bytes_text, print_json, print_left_out, printable
from vertebra.cli.terminal.table import print_fields
from vertebra.cli.terminal.tree import draw_tree


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "show a preset's architecture, parameters and size, without loading it"
    parser = commands.add_parser("inspect", help=text, description=text)
    parser.add_argument("preset", help="a preset id, a handle or a path")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    facts = inspect_preset(args.preset)
    if args.json:
        print_json(facts)
    else:
        _print_facts(facts)
    return 0


def _print_facts(facts: Mapping[str, Any]) -> None:
    dtypes = ", ".join(f"{bytes_text(size)} {dtype}" for dtype, size in sorted(facts["bytes_by_dtype"].items()))
    config = ", ".join(f"{name}={value!r}" for name, value in facts["config"].items())
    lines = {
        "preset": facts["handle"],
        "format": f"{facts['format']} ({', '.join(facts['files'])})",
        "backbone": f"{facts['backbone']}, from {facts['owner'] or 'no installed plugin'}",
        "config": config,
        "parameters": f"{facts['parameters']:,}",
        "bytes": f"{facts['bytes']:,} ({dtypes})",
    }
    if facts["not_read"]:
        lines["not read"] = f"{facts['not_read']} and its shards, a second checkpoint (vertebra verify compares both)"
    if facts["difference"]:
        lines["difference"] = f"{facts['difference']}; Vertebra computes what the config says"
    if facts["notes"]:
        lines["note"] = "; ".join(map(printable, facts["notes"]))
    if facts["untied_heads"]:
        lines["head"] = untied_logits_text(facts["untied_heads"])
    print_fields(lines.items())
    print_left_out(facts["left_out"])
    print()
    print(draw_tree(facts["backbone"], facts["tensors"]))
