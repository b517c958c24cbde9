"""`vertebra lock [PRESET...]`: records the revisions and digests of presets in a lockfile, and compares them later."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._resolve.locked_plugins import Differences, are_allowed, differing_plugins, shown
from vertebra._resolve.lockfile import LockedPreset, lockfile_path
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
    return 0 if not is_check or all(are_allowed(_differing(status)) for status in statuses) else 1


def _differing(status: LockStatus) -> Differences | None:
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


def _versions(differences: Differences | None) -> dict[str, Any] | None:
    if differences is None:
        return None
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
    if status.state not in ("removed", "kept", "updated"):
        _print_readers(status.requested, _differing(status))
    if status.before is not None and status.state in ("changed", "updated"):
        say(f"  {_difference(status.before, status.preset)}")


def _print_readers(requested: str, differences: Differences | None) -> None:
    """Prints which plugins that read a locked preset have other versions, and a missing list that the settings need."""
    if differences:
        say(f"  locked with {shown(differences)}")
    elif not are_allowed(differences):
        say(f"  the lockfile does not tell which plugins read it: vertebra lock --update {requested}")


def _difference(before: LockedPreset, after: LockedPreset) -> str:
    old, new = ({file.name: file.digest for file in preset.files} for preset in (before, after))
    changes = {
        "changed": [name for name in new if name in old and new[name] != old[name]],
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "plugins": [f"{name} {new}" for name, new in after.plugins.items() if before.plugins.get(name) != new],
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
        facts = [asdict(preset) | {"plugins": _versions(preset.plugins)} for preset in presets]
        print_json({"presets": facts, "plugins": _versions(plugins)})
    else:
        for preset in presets:
            _print_verified(preset)
        told = {name for preset in presets for name in preset.plugins or ()}
        _print_plugins({name: versions for name, versions in plugins.items() if name not in told})
    failed = any(preset.different or (preset.missing and not allow_missing) for preset in presets)
    return 0 if not failed and all(are_allowed(preset.plugins) for preset in presets) else 1


def _print_verified(preset: VerifiedPreset) -> None:
    count = len(preset.right) + len(preset.missing) + len(preset.different)
    state = "DIFFERS from the lockfile" if preset.different else "not complete" if preset.missing else "unchanged"
    say(f"{preset.requested}: {state}")
    say(f"  {count} files, {bytes_text(preset.size)}; {len(preset.right)} verified")
    for name, problem in preset.different.items():
        say(f"  {name}: {problem}")
    if preset.missing:
        say(f"  not on this machine: {_names(preset.missing)}")
    _print_readers(preset.requested, preset.plugins)


def _print_plugins(plugins: Mapping[str, tuple[str, str | None]]) -> None:
    for name, (then, now) in plugins.items():
        say(f"note: locked with {name} {then}; {f'{now} is installed' if now else 'it is not installed'}")
