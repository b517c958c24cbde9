"""`vertebra lock [PRESET...]`: records the revisions and digests of presets in a lockfile, and compares them later."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._configuration.settings import settings
from vertebra._resolve.locked_plugins import Differences, differing_plugins, shown
from vertebra._resolve.lockfile import LockedPreset, lockfile_path, read_lockfile
from vertebra.cli.output import bytes_text, plain_warnings, print_json, print_left_out
from vertebra.cli.progress import busy
from vertebra.cli.terminal.streams import say

if TYPE_CHECKING:
    from vertebra._presets.lock import LockStatus, VerifiedPreset

_MOST_NAMES = 5
_STATES = {
    "added": "locked",
    "updated": "updated",
    "kept": "already locked; --update locks the current revision",
    "removed": "removed",
    "unchanged": "unchanged",
    "moved": "MOVED to another revision",
    "changed": "CHANGED: its files differ",
    "gone": "GONE: no longer at its source; to remove it from the lockfile, use vertebra lock --remove",
    "unknown": "UNKNOWN: its source could not be reached",
}


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "lock presets and LoRA adapters to their current revisions and digests; without any, check the locked ones"
    parser = commands.add_parser("lock", help=text, description=text)
    parser.add_argument(
        "presets", nargs="*", metavar="PRESET", help="an id, a handle or a path of a preset or adapter, as it is loaded"
    )
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--update", action="store_true", help="lock the current revisions of these presets, or of all")
    change.add_argument("--remove", action="store_true", help="remove these presets from the lockfile")
    add_lockfile_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run, parser=parser)


def add_lockfile_option(parser: Any) -> None:
    """Adds the option for the path of the lockfile."""
    text = "the lockfile (default: VERTEBRA_LOCKFILE, or vertebra.lock in the current folder)"
    parser.add_argument("--lockfile", type=Path, metavar="PATH", help=text)


def _run(args: argparse.Namespace) -> int:
    from vertebra._presets.lock import compare_lock, lock_presets

    plain_warnings()
    path = args.lockfile or lockfile_path()
    if args.remove and not args.presets:
        args.parser.error("--remove needs presets")
    if args.presets or args.update:
        with busy("locking"):
            statuses = lock_presets(args.presets, path, args.update, args.remove)
    else:
        with busy("comparing"):
            statuses = list(compare_lock(path))
    if args.json:
        print_json([_as_data(status) for status in statuses])
    else:
        for status in statuses:
            _print_status(status)
    if any(status.state in ("moved", "changed", "gone", "unknown") for status in statuses):
        return 1
    is_check = not (args.presets or args.update)
    return 1 if is_check and settings().locked_plugins and any(map(_differing, statuses)) else 0


def _differing(status: LockStatus) -> Differences:
    return {} if status.before is None else differing_plugins(status.before)


def _as_data(status: LockStatus) -> dict[str, Any]:
    before = status.before
    return {
        "requested": status.requested,
        "state": status.state,
        "handle": _handle(status.preset),
        "files": None if status.state == "moved" else _files(status.preset),  # the new revision's files are not listed
        "locked": None if before is None else {"handle": _handle(before), "files": _files(before)},
        "left_out": status.left_out,
        "plugins": _versions(_differing(status)),
    }


def _versions(differences: Differences) -> dict[str, Any]:
    return {name: {"locked": then, "installed": now} for name, (then, now) in differences.items()}


def _files(preset: LockedPreset) -> dict[str, Any]:
    return {file.name: {"size": file.size, "sha256": (file.digest or "")[7:]} for file in preset.files}


def _print_status(status: LockStatus) -> None:
    say(f"{status.requested}: {_STATES[status.state]}")
    handle, before = _handle(status.preset), _handle(status.before) if status.before else None
    if before != handle and before is not None:
        say(f"  locked:  {before}")
    if status.state == "moved":
        say(f"  current: {handle}")
        return
    size = bytes_text(sum(file.size for file in status.preset.files))
    say(f"  {handle or 'a folder'}: {len(status.preset.files)} files, {size}")
    print_left_out(status.left_out)
    if status.state not in ("removed", "kept") and (differences := _differing(status)):
        say(f"  locked with {shown(differences)}")
    if status.before is not None and status.state in ("changed", "updated"):
        say(f"  {_difference(status.before, status.preset)}")


def _difference(before: LockedPreset, after: LockedPreset) -> str:
    old, new = ({file.name: file.digest for file in preset.files} for preset in (before, after))
    changes = {
        "changed": [name for name in new if name in old and new[name] != old[name]],
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
    }
    return "; ".join(f"{change}: {_names(names)}" for change, names in changes.items() if names) or "the same files"


def _handle(preset: LockedPreset) -> str | None:
    return None if preset.handle is None else str(preset.handle)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


# === vertebra verify, without a preset ===


def verify_lockfile(path: Path | None, as_json: bool, allow_missing: bool = False) -> int:
    """Compares the local files of locked presets with the lockfile, prints the result and returns the exit status.

    Args:
        path: The lockfile, or None for that of the settings.
        as_json: Whether to print JSON.
        allow_missing: Whether files that are not on this machine are no failure.
    """
    from vertebra._presets.lock import verify_lock

    path = path or lockfile_path()
    with busy("hashing"):
        presets, plugins = verify_lock(path)
    if as_json:
        print_json({"presets": [asdict(preset) for preset in presets], "plugins": _versions(plugins)})
    else:
        for preset in presets:
            _print_verified(preset)
        _print_plugins(plugins)
    failed = any(preset.different or (preset.missing and not allow_missing) for preset in presets)
    return 1 if failed or (settings().locked_plugins and _read_otherwise(path)) else 0


def _read_otherwise(path: Path) -> bool:
    """Returns whether a plugin that read a locked preset has another version, and not just any plugin."""
    return any(differing_plugins(preset) for preset in read_lockfile(path).presets.values())


def _print_verified(preset: VerifiedPreset) -> None:
    count = len(preset.right) + len(preset.missing) + len(preset.different)
    state = "DIFFERS from the lockfile" if preset.different else "not complete" if preset.missing else "unchanged"
    say(f"{preset.requested}: {state}")
    say(f"  {count} files, {bytes_text(preset.size)}; {len(preset.right)} verified")
    for name, problem in preset.different.items():
        say(f"  {name}: {problem}")
    if preset.missing:
        say(f"  not on this machine: {_names(preset.missing)}")


def _print_plugins(plugins: Mapping[str, tuple[str, str | None]]) -> None:
    for name, (then, now) in plugins.items():
        say(f"note: locked with {name} {then}; {f'{now} is installed' if now else 'it is not installed'}")
