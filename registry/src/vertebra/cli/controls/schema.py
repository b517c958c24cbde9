"""`vertebra schema [NAME]`: lists the JSON Schemas of files and outputs, and prints one."""

from __future__ import annotations

import argparse
from typing import Any

from vertebra._discovery.catalog import COMMANDS, catalog
from vertebra.cli.controls import plugin_commands
from vertebra.cli.output import Row, print_json, print_rows
from vertebra.errors import UnknownNameError
from vertebra.schemas import read_schema, schema_names

_CORE = "vertebra"


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "list the JSON Schemas of files and of what commands print with --json, or print one"
    parser = commands.add_parser("schema", help=text, description=text)
    name = "name of a schema, such as lockfile, or the words of a command, such as cache ls"
    parser.add_argument("schema", nargs="*", metavar="NAME", help=name)
    parser.add_argument("--json", action="store_true", help="print the list as JSON; a schema always is JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.schema:
        print_json(schema_of("-".join(args.schema)))
        return 0
    rows = _rows()
    if args.json:
        print_json(rows)
    else:
        print_rows(rows, ("name", "title", "distribution"))
    return 0


def _rows() -> list[Row]:
    rows = [{"name": name, "title": read_schema(name)["title"], "distribution": _CORE} for name in schema_names()]
    of_plugins = [entry for entry in catalog(COMMANDS) if entry.value.schema]
    title = "Output of vertebra {0} --json: {1}"
    return rows + [
        {
            "name": entry.name,
            "title": title.format(entry.name, entry.value.help),
            "distribution": entry.owner.distribution,
        }
        for entry in of_plugins
    ]


def schema_of(name: str) -> dict[str, Any]:
    """Returns the schema of a name: the core's, or that of a plugin's command.

    Raises:
        UnknownNameError: there is no schema of that name.
        PluginError: the plugin's schema is not one.
    """
    if name in schema_names():
        return read_schema(name)
    entries = {entry.name: entry for entry in catalog(COMMANDS) if entry.value.schema}
    if name not in entries:
        hint = "List them with: vertebra schema"
        raise UnknownNameError("schema", name, [*schema_names(), *entries], hint)
    return plugin_commands.schema_of(entries[name])
