"""`vertebra plugins | backbones | presets | sources | strategies | runtimes`: lists installed components by name."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vertebra._discovery import catalog as _catalog
from vertebra._discovery.catalog import BACKBONES, RUNTIMES, SOURCES, STRATEGIES, Catalog, Entry, Kind, catalog
from vertebra._discovery.plugins import examined, registry
from vertebra._discovery.runtimes import unavailable_reason
from vertebra.cli.output import Row, print_rows
from vertebra.errors import VertebraError


@dataclass(frozen=True, slots=True)
class Listing:
    """A command that lists one kind of thing."""

    help: str
    columns: tuple[str, ...]
    """Fields to show in the table; JSON has all of them."""
    rows: Callable[[], list[Row]]


def add_commands(commands: Any) -> None:
    """Adds the listing commands."""
    for name, listing in LISTINGS.items():
        parser = commands.add_parser(name, help=listing.help, description=listing.help)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=_run, listing=listing)


def _run(args: argparse.Namespace) -> int:
    print_rows(args.listing.rows(), args.listing.columns, args.json)
    for line in _warnings():
        print(line, file=sys.stderr)
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
            "reason": plugin.reason,
        }
        for plugin in examined().plugins
    ]


def _entries(kind: Kind, describe: Callable[[Any], Row]) -> Callable[[], list[Row]]:
    return lambda: [describe(entry.value) | _owner(entry) for entry in catalog(kind)]


def _owner(entry: Entry[Any]) -> Row:
    return {"distribution": entry.owner.distribution, "version": entry.owner.version, "module": entry.owner.module}


def _backbone(spec: Any) -> Row:
    formats = ["native", *spec.formats]
    return {"name": spec.name, "presets": len(spec.presets), "formats": formats, "class": spec.backbone}


def _presets() -> list[Row]:
    return [
        {
            "name": entry.name,
            "backbone": entry.value[0].name,
            "parameters": entry.value[1].parameters,
            "handle": entry.value[1].handle,
            "copies": list(entry.value[1].copies),
            "description": entry.value[1].description,
        }
        | _owner(entry)
        for entry in _catalog.presets()
    ]


def _runtimes() -> list[Row]:
    rows = [(entry, unavailable_reason(entry)) for entry in catalog(RUNTIMES)]
    return [{"name": entry.name, "available": why is None, "reason": why} | _owner(entry) for entry, why in rows]


def _warnings() -> list[str]:
    """Returns warnings about unused plugins and clashing names."""
    unused = [plugin for plugin in registry().plugins if plugin.status in ("failed", "incompatible")]
    lines = [f"warning: plugin {p.name} of {p.owner.distribution} is not used: {p.reason}" for p in unused]
    catalogs: list[Catalog[Any]] = [*(catalog(kind) for kind in _catalog.KINDS), _catalog.presets()]
    for entries in catalogs:
        for name, owners in entries.clashes().items():
            claims = " and ".join(map(str, owners))
            lines.append(f"warning: the {entries.kind} name {name} is claimed by {claims}, so neither is used")
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
    "presets": Listing("list built-in presets", ("name", "backbone", "parameters", "handle"), _presets),
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
    "runtimes": Listing(
        "list runtimes, and whether they are available",
        ("name", "available", "distribution", "version", "reason"),
        _runtimes,
    ),
}
