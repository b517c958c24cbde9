"""`vertebra convert SOURCE TARGET`: a preset in another format or dtype."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from vertebra._discovery import runtimes
from vertebra.cli.output import bytes_text, plain_warnings, print_assets, print_json
from vertebra.cli.progress import progress_bar


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "write a preset in another format or dtype, tensor by tensor"
    parser = commands.add_parser("convert", help=text, description=text)
    parser.add_argument("source", help="a preset id, a handle or a path")
    parser.add_argument("target", help="the folder to write; it appears complete or not at all")
    parser.add_argument("--format", default="native", help="native, kerashub or transformers (default: native)")
    parser.add_argument("--dtype", help="dtype of the floats (default: as stored)")
    parser.add_argument("--max-shard-size", type=float, default=10, metavar="GB", help="of one file (default: 10)")
    parser.add_argument("--runtime", help="runtime that builds the architecture; the result is the same (default: any)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(chosen: argparse.Namespace) -> int:
    runtimes.bind_any(chosen.runtime)
    plain_warnings()
    from vertebra._presets.convert import convert_preset

    with progress_bar("converting") as advance:
        done = convert_preset(chosen.source, chosen.target, chosen.format, chosen.dtype, chosen.max_shard_size, advance)
    if chosen.json:
        print_json(asdict(done) | {"target": str(done.target)})
    else:
        print(f"{done.source} -> {done.target} ({done.format}): {done.tensors} weights, {bytes_text(done.size)}")
        print_assets(done.assets)
        if not done.certificate:
            print("Without a parity certificate: load it and save_to_preset to make one.")
    return 0
