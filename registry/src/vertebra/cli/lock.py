"""`vertebra lock [PRESET...]`: which revision and bytes presets have, written down; and whether they still do."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._resolve.lockfile import LockedPreset, lockfile_path
from vertebra.cli.output import bytes_text, plain_warnings, print_json, printable
from vertebra.cli.progress import busy

if TYPE_CHECKING:
    from vertebra._presets.lock import LockStatus, VerifiedPreset

_MOST_NAMES = 5
_STATES = {
    "added": "locked",
    "updated": "locked anew",
    "kept": "locked already; --update takes what it is now",
    "removed": "removed",
    "unchanged": "as locked",
    "moved": "MOVED",
    "changed": "CHANGED",
    "gone": "GONE; vertebra lock --remove takes it out",
    "unknown": "NOT ANSWERED; nobody could be asked what it is now",
}


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "write down which revision and which bytes presets have, or ask whether that is still what they are"
    parser = commands.add_parser("lock", help=text, description=text)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help="an id, a handle or a path, as it is loaded")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--update", action="store_true", help="lock these anew, or all, as they are now")
    change.add_argument("--remove", action="store_true", help="take these out of the lockfile")
    add_lockfile_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run, parser=parser)


def add_lockfile_option(parser: Any) -> None:
    """Adds the option that says where the lockfile is."""
    text = "the lockfile (default: VERTEBRA_LOCKFILE, or vertebra.lock in the current folder)"
    parser.add_argument("--lockfile", type=Path, metavar="PATH", help=text)


def _run(chosen: argparse.Namespace) -> int:
    from vertebra._presets.lock import compare_lock, lock_presets

    plain_warnings()
    path = chosen.lockfile or lockfile_path()
    if chosen.remove and not chosen.presets:
        chosen.parser.error("--remove needs presets")
    if chosen.presets or chosen.update:
        with busy("locking"):
            done = lock_presets(chosen.presets, path, chosen.update, chosen.remove)
    else:
        with busy("comparing"):
            done = list(compare_lock(path))
    if chosen.json:
        print_json([_as_data(item) for item in done])
    else:
        for item in done:
            _print_locking(item)
    return 1 if any(item.state in ("moved", "changed", "gone", "unknown") for item in done) else 0


def _as_data(item: LockStatus) -> dict[str, Any]:
    return {
        "requested": item.requested,
        "state": item.state,
        "handle": _handle(item.preset),
        "files": None if item.state == "moved" else _files(item.preset),  # which ones it has there, nobody has asked
        "locked": None if item.before is None else {"handle": _handle(item.before), "files": _files(item.before)},
    }


def _files(preset: LockedPreset) -> dict[str, Any]:
    return {file.name: {"size": file.size, "sha256": (file.digest or "")[7:]} for file in preset.files}


def _print_locking(item: LockStatus) -> None:
    print(f"{printable(item.requested)}: {_STATES[item.state]}")
    place, before = _handle(item.preset), _handle(item.before) if item.before else None
    if before != place and before is not None:
        print(f"  was {before}")
    if item.state == "moved":
        print(f"  is  {place}")
        return
    size = bytes_text(sum(file.size for file in item.preset.files))
    print(f"  {place or 'a folder'}: {len(item.preset.files)} files, {size}")
    if item.before is not None and item.state in ("changed", "updated"):
        print(f"  {_difference(item.before, item.preset)}")


def _difference(before: LockedPreset, after: LockedPreset) -> str:
    old, new = ({file.name: file.digest for file in preset.files} for preset in (before, after))
    parts = {
        "changed": [name for name in new if name in old and new[name] != old[name]],
        "added": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
    }
    return "; ".join(f"{what}: {_names(names)}" for what, names in parts.items() if names) or "the same files"


def _handle(preset: LockedPreset) -> str | None:
    return None if preset.handle is None else str(preset.handle)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return printable(", ".join(names[:_MOST_NAMES])) + more


# === vertebra verify, without a preset ===


def verify_lockfile(path: Path | None, as_json: bool) -> int:
    """Compares what is here of the presets in the lockfile with it, prints that, and returns the exit status."""
    from vertebra._presets.lock import verify_lock

    with busy("hashing"):
        verdicts, plugins = verify_lock(path or lockfile_path())
    if as_json:
        versions = {name: {"locked": then, "installed": now} for name, (then, now) in plugins.items()}
        print_json({"presets": [asdict(verdict) for verdict in verdicts], "plugins": versions})
    else:
        for verdict in verdicts:
            _print_verdict(verdict)
        _print_plugins(plugins)
    return 1 if any(verdict.different for verdict in verdicts) else 0


def _print_verdict(verdict: VerifiedPreset) -> None:
    count = len(verdict.right) + len(verdict.missing) + len(verdict.different)
    state = "DIFFERS" if verdict.different else "as locked" if not verdict.missing else "not complete"
    print(f"{printable(verdict.requested)}: {state}")
    print(f"  {count} files, {bytes_text(verdict.size)}, of which {len(verdict.right)} are here as they should be")
    for name, problem in verdict.different.items():
        print(f"  {printable(name)}: {problem}")
    if verdict.missing:
        print(f"  not here: {_names(verdict.missing)}")


def _print_plugins(plugins: Mapping[str, tuple[str, str | None]]) -> None:
    for name, (then, now) in plugins.items():
        print(f"note: locked with {name} {then}; {f'{now} is installed' if now else 'it is not installed'}")
