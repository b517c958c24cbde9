"""`vertebra config list|get|set|unset`: shows the settings and their origins, and changes those of a file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._configuration import settings
from vertebra._configuration.config_file import ENFORCED, PLUGIN_LISTS, SETTINGS
from vertebra.cli.doctor_settings import unreadable_by_others
from vertebra.cli.output import print_error, print_json, print_rows
from vertebra.cli.terminal.streams import say
from vertebra.errors import SettingsError, UnknownNameError, VertebraError

if TYPE_CHECKING:
    from vertebra._configuration.changing import Change, InForce

_HINT = "List them with: vertebra config list"


def add_commands(commands: Any) -> None:
    """Adds the group."""
    text = "show the settings, and change those of a configuration file"
    group = commands.add_parser("config", help=text, description=text).add_subparsers(metavar="ACTION", required=True)
    _add(group, "list", "list the settings, with their values in force, and where each comes from", _list)
    get = _add(group, "get", "print the value of a setting that is in force, a list with one item on a line", _get)
    unset = _add(group, "unset", "remove a setting from the user's configuration file", _unset)
    text = "write a setting into the user's configuration file"
    change = _add(group, "set", text, _set)
    for parser in (get, change, unset):
        parser.add_argument("setting", metavar="NAME", help="a setting, such as runtime or cache")
    values = "the value; items of a list are separate words, and switches 1 or 0"
    change.add_argument("values", nargs="+", metavar="VALUE", help=values)
    for parser in (change, unset):
        file = parser.add_mutually_exclusive_group()
        file.add_argument(
            "--machine", action="store_true", help="change the file for all users of this machine instead"
        )
        rule = f"change the table [{ENFORCED}] of the machine's file, which users cannot override"
        file.add_argument("--enforced", action="store_true", help=rule)


def _add(group: Any, name: str, text: str, run: Any) -> Any:
    parser = group.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


# === list, get ===


def _list(args: argparse.Namespace) -> int:
    found, problems = _in_force()
    if args.json:
        settings_ = [_as_data(setting) for setting in found]
        print_json({"settings": settings_, "problems": [str(problem) for problem in problems]})
    else:
        shown = [_as_data(setting) | {"enforced": list(setting.enforced or ())} for setting in found]
        columns = ["name", "value", "source", "origin"]
        print_rows(shown, [*columns, *(["enforced"] if any(row["enforced"] for row in shown) else [])])
    for problem in problems:
        print_error(problem)
    return 1 if problems else 0


def _as_data(setting: InForce) -> dict[str, Any]:
    return {
        "name": setting.name,
        "value": _plain(_with_default(setting)),
        "source": setting.source,
        "origin": setting.origin,
        "enforced": _plain(setting.enforced),
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _with_default(setting: InForce) -> Any:
    """Returns the value of a setting, or the path that is used because it is not set."""
    if setting.value is not None or setting.name not in ("cache", "lockfile"):
        return setting.value
    if setting.name == "lockfile":
        from vertebra._resolve.lockfile import NAME

        return str(Path.cwd() / NAME)
    from vertebra._cache.default_store import system_folder

    folder = system_folder()
    return None if folder is None else str(folder)


def _get(args: argparse.Namespace) -> int:
    _check_name(args.setting)
    found, problems = _in_force()
    setting = next(setting for setting in found if setting.name == args.setting)
    value = _plain(_with_default(setting))
    if args.json:
        print_json(_as_data(setting))
    else:
        for line in value if isinstance(value, list) else [value]:
            text = {None: "", True: "1", False: "0"}.get(line, line)
            sys.stdout.write(f"{text}\n")  # as it is: scripts use it
    for problem in problems:
        print_error(problem)
    return 1 if problems else 0


def _in_force() -> tuple[list[InForce], list[SettingsError]]:
    from vertebra._configuration.changing import settings_in_force  # other commands do without

    return settings_in_force(os.environ, settings.MACHINE_CONFIG)


# === set, unset ===


def _set(args: argparse.Namespace) -> int:
    from vertebra._configuration import changing

    _check_name(args.setting)
    path, source = _file(args)
    origin = f"{path} [{ENFORCED}]" if args.enforced else str(path)
    value = changing.value_of(args.setting, args.values, origin)
    if args.setting in PLUGIN_LISTS:
        _check_plugins(args.setting, value, origin)
    if args.setting == "runtime":
        _check_runtime(value)
    overriding = changing.overriding(args.setting, source, os.environ, settings.MACHINE_CONFIG)
    if overriding is not None and overriding.is_rule and args.setting not in PLUGIN_LISTS:
        problem = f"{args.setting} would have no effect: {overriding.origin} sets it for all users"
        raise SettingsError(origin, problem, "Nothing was written. Ask those who maintain the machine")
    change = changing.set_in_file(path, args.setting, value, args.enforced)
    return _report(change, args, overriding)


def _unset(args: argparse.Namespace) -> int:
    from vertebra._configuration import changing

    path, source = _file(args)
    change = changing.unset_in_file(path, args.setting, args.enforced)
    known = args.setting in SETTINGS
    return _report(
        change, args, changing.overriding(args.setting, source, os.environ, settings.MACHINE_CONFIG) if known else None
    )


def _file(args: argparse.Namespace) -> tuple[Path, str]:
    """Returns the file to change, and its name among the sources of settings."""
    from vertebra._configuration import changing

    if args.machine or args.enforced:
        return settings.MACHINE_CONFIG, changing.RULE if args.enforced else changing.MACHINE
    return settings.config_path(os.environ), changing.USER


def _check_name(name: str) -> None:
    if name not in SETTINGS:
        raise UnknownNameError("setting", name, SETTINGS, _HINT)


def _check_plugins(name: str, values: tuple[str, ...], origin: str) -> None:
    """Checks names of plugins against the installed ones, without importing these."""
    from vertebra._discovery.installed import find_installed
    from vertebra._discovery.plugins import builtin_plugin, is_glob, problems_with_name

    plugins = [builtin_plugin(), *(plugin for _, plugin in find_installed()[0])]
    for value in values:
        for problem in [] if is_glob(value) else problems_with_name(value, name, origin, plugins):
            raise problem


def _check_runtime(name: str) -> None:
    """Checks the name of a runtime against those of the plugins, if these can be used."""
    from vertebra._discovery.catalog import RUNTIMES, catalog

    try:
        known = catalog(RUNTIMES)
    except VertebraError:  # of broken settings, which this command helps to repair
        return
    known.lookup(name)


def _report(change: Change, args: argparse.Namespace, overriding: InForce | None) -> int:
    notes = [] if overriding is None else [_overridden(args.setting, overriding)]
    notes += [str(problem) for problem in _in_force()[1]]
    if (args.machine or args.enforced) and (problem := unreadable_by_others(settings.MACHINE_CONFIG)):
        notes.append(problem)
    if args.json:
        before = json.loads(json.dumps(change.before, default=str))  # a removed value may have any type, such as a date
        facts = {"name": change.name, "file": str(change.path), "before": before, "after": change.after}
        print_json(facts | {"notes": notes})
        return 0
    if change.before == change.after:
        say(f"{change.path} sets it so already")
    else:
        say(f"{change.path}: {change.name} {'removed' if change.after is None else 'written'}")
    for note in notes:
        say(f"warning: {note}", file=sys.stderr)
    return 0


def _overridden(name: str, overriding: InForce) -> str:
    if name in PLUGIN_LISTS and overriding.is_rule:
        return f"{overriding.origin} has a list, too, and both apply"
    return f"this has no effect while {overriding.origin} sets {name}"
