"""`vertebra demo`: runs the demo that an installed architecture contributes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vertebra._discovery import runtimes as _runtimes
from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra.errors import UnknownNameError
from vertebra.specs import DemoContext, resolve_reference


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "run a demo on real weights: load, embed, fine-tune, save, and reload on another runtime"
    parser = commands.add_parser("demo", help=text, description=text)
    parser.add_argument("--backbone", help="architecture whose demo to run (default: the first that has one)")
    output = "folder for the demo's output files (default: %(default)s)"
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help=output)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    run = resolve_reference(_find_demo(args.backbone))
    runtimes = tuple(runtime.name for runtime in _runtimes.available())
    if not runtimes:
        raise _runtimes.no_choice(runtimes)
    args.output.mkdir(parents=True, exist_ok=True)
    run(DemoContext(runtimes, args.output))
    return 0


def _find_demo(backbone: str | None) -> str:
    demos: dict[str, str] = {entry.name: entry.value.demo for entry in catalog(BACKBONES) if entry.value.demo}
    if backbone in demos:
        return demos[backbone]
    if backbone is None and demos:
        return next(iter(demos.values()))
    hint = "Install an architecture with a demo" if not demos else f"Architectures with a demo: {', '.join(demos)}"
    raise UnknownNameError("demo", backbone or "", demos, hint)
