"""`vertebra new KIND NAME`: writes the project of a new plugin, with tests that pass, from a template."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from vertebra.cli.new.kinds import Kind, kinds, template_of
from vertebra.cli.output import print_json, print_rows
from vertebra.cli.terminal.streams import say

LICENSES = ("Apache-2.0", "BSD-3-Clause", "MIT", "MPL-2.0", "LGPL-3.0-or-later", "GPL-3.0-or-later", "LicenseRef-Own")


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "write the project of a new plugin: code that works, tests of its kind, README and CI"
    epilog = "without arguments, lists the kinds; the page 'Write a plugin' of the documentation explains each"
    parser = commands.add_parser("new", help=text, description=text, epilog=epilog)
    parser.add_argument("kind", nargs="?", metavar="KIND", help="the kind of plugin; without it, the kinds are listed")
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of the distribution, such as acme-llama")
    parser.add_argument("--output", metavar="DIR", help="the folder to write (default: ./NAME)")
    parser.add_argument("--author", metavar="NAME", help="your name, or 'name <address>', for the metadata")
    parser.add_argument("--license", choices=LICENSES, default=LICENSES[0], help="default: %(default)s")
    parser.add_argument("--scheme", help="source: scheme of its addresses (default: of the name)")
    parser.add_argument(
        "--class-name", metavar="NAME", help="name for its classes, such as AcmeLlama (default: as NAME)"
    )
    parser.add_argument("--local", action="store_true", help="source: read a folder of this machine, not a web service")
    preset = "preset-pack: a preset to include, as ID=PRESET or PRESET; a local one is copied into the package"
    parser.add_argument("--preset", action="append", default=[], dest="include", metavar="PRESET", help=preset)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.kind is None:
        return _list(args.json)
    kind = template_of(args.kind, local=args.local)
    if args.name is None:
        args.parser.error(f"vertebra new {args.kind} needs a name, such as: vertebra new {args.kind} acme-{args.kind}")
    from vertebra.cli.new.names import Names
    from vertebra.cli.new.project import Project, test_commands, write_project

    chosen = {"scheme": args.scheme, "class-name": args.class_name}
    names = Names.of(args.name, kind, {option: name for option, name in chosen.items() if name is not None})
    project = Project(kind, names, license=args.license, author=args.author, presets=args.include)
    folder = Path(names.distribution if args.output is None else args.output).expanduser()
    files = write_project(project, folder)
    _report(args, kind, names, folder, files, test_commands(kind))
    return 0


def _list(as_json: bool) -> int:
    rows = [{"kind": kind.name, "help": kind.help} for kind in kinds()]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, ["kind", "help"])
        say()
        say("vertebra new KIND NAME writes the project; vertebra help new shows the options")
    return 0


def _report(args: argparse.Namespace, kind: Kind, names: Any, folder: Path, files: list[str], tests: list[str]) -> None:
    steps = [f"cd {shlex.quote(str(folder))}", 'pip install -e ".[test]"', *tests]
    if args.json:
        facts = {"kind": kind.name, "distribution": names.distribution, "package": names.package}
        facts |= {"registers": names.registered, "folder": str(folder), "files": files, "next": steps}
        print_json(facts)
        return
    say(f"{folder}: a plugin of the kind {kind.name}, in {len(files)} files")
    for name in files:
        say(f"  {name}")
    say()
    say("It works as it is. Install and test it, then follow its README.md:")
    for step in steps:
        say(f"  {step}")
