"""`vertebra plugins`, `backbones`, `presets`, …: lists installed components by name."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vertebra._discovery import catalog as _catalog
from vertebra._discovery.catalog import (
    BACKBONES,
    COMMANDS,
    FORMATS,
    RUNTIMES,
    SOURCES,
    STRATEGIES,
    TASKS,
    TOKENIZERS,
    Entry,
    Kind,
    catalog,
)
from vertebra._discovery.extras import install_command
from vertebra._discovery.plugin import BUILTIN
from vertebra._discovery.plugins import examined, registry
from vertebra._discovery.runtimes import unavailable_reason
from vertebra.cli.controls.unused_plugins import unused_plugins
from vertebra.cli.output import Row, bytes_text, print_json, print_rows
from vertebra.cli.plans.sizes import parse_size
from vertebra.cli.terminal.streams import say
from vertebra.errors import VertebraError, close_names
from vertebra.errors.base import did_you_mean
from vertebra.specs import BUILTIN_FORMATS

_EMPTY: tuple[Any, ...] = (None, "", [])


@dataclass(frozen=True, slots=True)
class Listing:
    """A command that lists one kind of thing."""

    help: str
    columns: tuple[str, ...]
    """Fields to show in the table, except those without any value; JSON has all of them."""
    rows: Callable[[], list[Row]]


def add_commands(commands: Any) -> None:
    """Adds the listing commands."""
    for name, listing in LISTINGS.items():
        parser = commands.add_parser(name, help=listing.help, description=listing.help)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=_run, listing=listing, is_wanted=None)
        if name == "presets":
            _add_filters(parser)


def _add_filters(parser: Any) -> None:
    part = "part of an id or of an architecture, or a glob such as 'bert_*'; all that are given must match"
    parser.add_argument("filters", nargs="*", metavar="FILTER", help=part)
    parser.add_argument("--architecture", metavar="FILTER", help="only architectures with this part, or of this glob")
    size = "only presets of at most this size, such as 500MB or 2GB, at four bytes for each parameter (float32)"
    parser.add_argument("--max-size", type=parse_size, metavar="SIZE", help=size)
    parser.set_defaults(is_wanted=_is_wanted)


def _is_wanted(args: argparse.Namespace, row: Row) -> bool:
    texts = (row["name"], row["backbone"])
    return (
        all(any(_matches(text, part) for text in texts) for part in args.filters)
        and (args.architecture is None or _matches(row["backbone"], args.architecture))
        and (args.max_size is None or row["float32_bytes"] <= args.max_size)
    )


def _matches(text: str, part: str) -> bool:
    """Returns whether a text contains a part, or matches it as a glob; case does not matter."""
    text, part = text.lower(), part.lower()
    return fnmatchcase(text, part) or part in text


def _remedy(args: argparse.Namespace, presets: Sequence[Row]) -> str:
    """Returns what would match: presets of an architecture that is not installed, or names that resemble a filter."""
    names = [name for row in presets for name in (row["name"], row["backbone"])]
    filters = [*args.filters, args.architecture or ""]
    unknown = [part for part in filters if not any(_matches(name, part) for name in names)]
    commands = [command for part in unknown if (command := install_command(part))]
    if commands:
        return f"; more are installed with: {commands[0]}"
    return next((f".{did_you_mean(near)}" for part in unknown if (near := close_names(part, names))), "")


def _run(args: argparse.Namespace) -> int:
    every = args.listing.rows()
    rows = every if args.is_wanted is None else [row for row in every if args.is_wanted(args, row)]
    if args.json:
        print_json(rows)
    else:
        shown = [row | {"size": bytes_text(row.get("float32_bytes", 0))} for row in rows]
        filled = [name for name in args.listing.columns if not rows or any(row[name] not in _EMPTY for row in shown)]
        print_rows(shown, filled)
    if every and not rows:
        say(f"none of {len(every)} matches{_remedy(args, every)}", file=sys.stderr)
    for line in _warnings():
        say(line, file=sys.stderr)
    return 0


def _plugins() -> list[Row]:
    with contextlib.suppress(VertebraError):  # reported below the list, which helps to find the cause
        catalog(BACKBONES)  # the first lookup calls the hooks, which may fail
    return [
        {
            "name": plugin.name,
            "distribution": plugin.owner.distribution,
            "version": plugin.owner.version,
            "module": plugin.owner.module,
            "status": plugin.status,
            "hooks": plugin.hooks,
            "reason": plugin.reason or "; ".join(plugin.problems),
        }
        for plugin in examined().plugins
    ]


def _entries(kind: Kind, describe: Callable[[Any], Row]) -> Callable[[], list[Row]]:
    return lambda: [describe(entry.value) | _owner(entry) for entry in catalog(kind)]


def _owner(entry: Entry[Any]) -> Row:
    return {"distribution": entry.owner.distribution, "version": entry.owner.version, "module": entry.owner.module}


def _backbone(spec: Any) -> Row:
    formats = ["native", *_catalog.known_formats(spec)]
    return {
        "name": spec.name,
        "presets": len(_catalog.presets_of(spec.name)),
        "formats": formats,
        "class": spec.backbone,
    }


def _presets() -> list[Row]:
    return [
        {
            "name": entry.name,
            "backbone": entry.value.backbone,
            "parameters": entry.value.parameters,
            "float32_bytes": 4 * entry.value.parameters,
            "handle": entry.value.handle,
            "copies": list(entry.value.copies),
            "description": entry.value.description,
        }
        | _owner(entry)
        for entry in _catalog.presets()
    ]


def _formats() -> list[Row]:
    core = next(plugin.owner for plugin in registry().plugins if plugin.owner.module == BUILTIN)
    entries = [*(Entry(name, None, core) for name in BUILTIN_FORMATS), *catalog(FORMATS)]
    return [{"name": entry.name} | _owner(entry) for entry in entries]


def _runtimes() -> list[Row]:
    rows = [(entry, unavailable_reason(entry)) for entry in catalog(RUNTIMES)]
    return [{"name": entry.name, "available": why is None, "reason": why} | _owner(entry) for entry, why in rows]


def _warnings() -> list[str]:
    """Returns warnings about unused plugins and clashing names."""
    lines = unused_plugins()
    for plugin in registry().plugins:
        lines += [f"warning: plugin {plugin.name} of {plugin.owner.distribution}: {text}" for text in plugin.problems]
    for kind, name, claims in _catalog.clashes():
        choice = "choose one with VERTEBRA_PREFER or VERTEBRA_BLOCK"  # a class that is named is used without a choice
        lines.append(f"warning: the {kind} name {name} is claimed by {' and '.join(claims)}; {choice}")
    return lines


LISTINGS = {
    "plugins": Listing(
        "list plugins, with their status and hooks",
        ("name", "distribution", "version", "status", "hooks", "reason"),
        _plugins,
    ),
    "backbones": Listing(
        "list backbone architectures",
        ("name", "presets", "formats", "distribution", "version"),
        _entries(BACKBONES, _backbone),
    ),
    "presets": Listing(
        "list built-in presets, with their size in float32",
        ("name", "backbone", "parameters", "size", "description", "handle"),
        _presets,
    ),
    "formats": Listing(
        "list formats of presets that can be read and written", ("name", "distribution", "version"), _formats
    ),
    "sources": Listing(
        "list preset sources, such as hf and kaggle",
        ("scheme", "revisions", "distribution", "version"),
        _entries(SOURCES, lambda source: {"scheme": source.scheme, "revisions": source.supports_revisions}),
    ),
    "strategies": Listing(
        "list LoRA strategies",
        ("name", "distribution", "version"),
        _entries(STRATEGIES, lambda strategy: {"name": strategy.name}),
    ),
    "tasks": Listing(
        "list tasks, such as TextClassifier",
        ("name", "description", "distribution", "version"),
        _entries(TASKS, lambda spec: {"name": spec.name, "description": spec.description, "class": spec.task}),
    ),
    "tokenizers": Listing(
        "list the kinds of tokenizers that can be read",
        ("name", "description", "distribution", "version"),
        _entries(
            TOKENIZERS, lambda spec: {"name": spec.name, "description": spec.description, "class": spec.tokenizer}
        ),
    ),
    "commands": Listing(
        "list the commands of plugins",
        ("name", "description", "distribution", "version"),
        _entries(COMMANDS, lambda spec: {"name": spec.name, "description": spec.help, "code": spec.command}),
    ),
    "runtimes": Listing(
        "list runtimes, and whether they are available",
        ("name", "available", "distribution", "version", "reason"),
        _runtimes,
    ),
}
