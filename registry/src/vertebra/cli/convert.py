"""`vertebra convert SOURCE TARGET`: writes a preset in another format or dtype."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from vertebra._system.strict_json import strict_value
from vertebra.cli.output import bytes_text, plain_warnings, print_assets, print_json
from vertebra.cli.progress import progress_bar
from vertebra.cli.terminal.streams import say
from vertebra.errors.base import shown


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "write a preset in another format or dtype, one tensor at a time"
    others = "reads pytorch_model.bin, fp16 variants and shards without an index, too, which a load refuses"
    parser = commands.add_parser("convert", help=text, description=f"{text}; {others}")
    parser.add_argument("source", help="a preset id, a handle or a path")
    parser.add_argument("target", help="the folder to write; an error leaves no partial folder")
    parser.add_argument(
        "--format", default="native", help="native (the default), kerashub, transformers, or one of a plugin"
    )
    parser.add_argument("--dtype", help="dtype of floating-point weights (default: as stored)")
    size = "largest size of one weights file (default: 10)"
    parser.add_argument("--max-shard-size", type=float, default=10, metavar="GB", help=size)
    setting = (
        "argument of the class instead of the config's, as in from_preset, such as vocabulary_size=128; repeatable"
    )
    parser.add_argument("--set", type=_setting, action=_AddSetting, default={}, metavar="NAME=VALUE", help=setting)
    runtime = "runtime that builds the architecture; it does not affect the result (default: any)"
    parser.add_argument("--runtime", help=runtime)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    plain_warnings()
    from vertebra._presets.convert import convert_preset

    with progress_bar("converting") as advance:
        options = args.format, args.dtype, args.max_shard_size, advance, args.set, args.runtime
        done = convert_preset(args.source, args.target, *options)
    if args.json:
        print_json(asdict(done) | {"target": str(done.target)})
    else:
        say(f"{done.source} -> {done.target} ({done.format}): {done.tensors} weights, {bytes_text(done.size)}")
        if done.task:
            say(f"with the head of its task {done.task}")
        print_assets(done.assets)
        if not done.certificate:
            say("The preset has no parity certificate; to make one, load it and call save_to_preset.")
    return 0


class _AddSetting(argparse.Action):
    """Adds an override to those that were given before."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        name, value = values
        given = getattr(namespace, self.dest)
        if name in given:
            raise argparse.ArgumentError(self, f"{name} is given twice, as {shown(given[name])} and {shown(value)}")
        setattr(namespace, self.dest, given | {name: value})


def _setting(text: str) -> tuple[str, Any]:
    """Returns the name and the value of an override; the value is JSON, or else text."""
    name, equals, value = text.partition("=")
    if not name.isidentifier() or not equals:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not NAME=VALUE, such as vocabulary_size=128")
    try:
        return name, strict_value(value)
    except (ValueError, RecursionError):
        return name, value
