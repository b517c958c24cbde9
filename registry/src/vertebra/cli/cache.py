"""`vertebra cache ls|verify|prune|path`: lists, verifies and cleans up the local cache of remote presets."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.cli.output import bytes_text, print_json, print_rows
from vertebra.cli.progress import progress_bar
from vertebra.cli.terminal.streams import say

if TYPE_CHECKING:
    from vertebra._cache.prune import PruneReport
    from vertebra._cache.scan import CachedPreset, CacheScan
    from vertebra._cache.verify import CorruptEntry
    from vertebra.handles import PresetHandle


def add_commands(commands: Any) -> None:
    """Adds the group."""
    text = "list, verify and clean up the local cache of remote presets"
    group = commands.add_parser("cache", help=text, description=text).add_subparsers(metavar="ACTION", required=True)
    _add(group, "ls", "list the cached presets, with their size and last use", _list, aliases=["list"])
    text = "hash every blob and check every manifest entry; the exit status is 1 if any is corrupt"
    verify = _add(group, "verify", text, _verify)
    verify.add_argument(
        "--repair", action="store_true", help="remove corrupt entries, to be downloaded again if needed"
    )
    prune = _add(group, "prune", "remove files that no preset needs, and the presets that you name", _prune)
    presets = "also remove these presets: ids or handles; without a revision, all their revisions"
    prune.add_argument("presets", nargs="*", metavar="PRESET", help=presets)
    prune.add_argument("--older-than", type=_days, metavar="DAYS", help="also remove presets not used for DAYS days")
    prune.add_argument("--dry-run", action="store_true", help="print the removals, but remove nothing")
    _add(group, "path", "print the cache folder", _path)


def _add(group: Any, name: str, text: str, run: Any, aliases: Sequence[str] = ()) -> Any:
    parser = group.add_parser(name, help=text, description=text, aliases=aliases)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _days(text: str) -> float:
    with contextlib.suppress(ValueError):
        if float(text) >= 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of days (0 or more)")


# === ls ===


def _list(args: argparse.Namespace) -> int:
    from vertebra._cache.default_store import default_store
    from vertebra._cache.prune import orphans
    from vertebra._cache.scan import scan_cache, size_of

    cache = default_store()
    scans = {folder: scan_cache(folder, follow=folder != cache.root) for folder in (cache.root, *cache.tiers)}
    rows = [_row(folder, scan, preset) for folder, scan in scans.items() for preset in scan.presets.values()]
    own = scans[cache.root]
    unreferenced = orphans(own)
    facts = {
        "path": str(cache.root),
        "tiers": [str(tier) for tier in cache.tiers],
        "presets": rows,
        "bytes": size_of([*own.blobs.values()]),
        "unfinished": {"count": len(own.partials), "bytes": size_of(own.partials)},
        "unreferenced": {"count": len(unreferenced), "bytes": size_of(unreferenced)},
    }
    if args.json:
        print_json(facts)
    else:
        _print_list(facts)
    return 0


def _row(folder: Path, scan: CacheScan, preset: CachedPreset) -> dict[str, Any]:
    from vertebra._cache.scan import last_used, size_of
    from vertebra._resolve.candidates import is_misnamed

    cached = [scan.blobs[sha256] for _, sha256, _ in preset.blobs() if sha256 in scan.blobs]
    used = datetime.datetime.fromtimestamp(last_used(scan.blobs, preset), datetime.UTC)
    return {
        "preset": str(preset.handle),
        "revisions_of": [
            str(handle)
            for handle, pinned in scan.refs.items()
            if pinned == preset.handle and not is_misnamed(pinned, handle)
        ],
        "place": str(folder),
        "here": len(cached),
        "files": None if preset.listed is None else len(preset.listed),
        "bytes": size_of(cached),
        "used": used.isoformat(timespec="seconds"),
    }


def _print_list(facts: dict[str, Any]) -> None:
    shown = [
        row
        | {
            "files": f"{row['here']} of {'?' if row['files'] is None else row['files']}",
            "size": bytes_text(row["bytes"]),
            "last used": row["used"][:10],
            "folder": row["place"],
        }
        for row in facts["presets"]
    ]
    columns = ("preset", "files", "size", "last used", *(["folder"] if facts["tiers"] else []))
    if shown:
        print_rows(shown, columns)
    else:
        say("no presets")
    say(f"{bytes_text(facts['bytes'])} in {facts['path']}")
    for key, name in {"unfinished": "partial downloads", "unreferenced": "blobs that no preset uses"}.items():
        count, size = facts[key]["count"], bytes_text(facts[key]["bytes"])
        if count:
            say(f"{name}: {count}, {size}; remove them with: vertebra cache prune")


# === verify ===


def _verify(args: argparse.Namespace) -> int:
    from vertebra._cache.default_store import default_store
    from vertebra._cache.verify import verify_store
    from vertebra._resolve.candidates import is_misnamed

    with progress_bar("hashing") as advance:
        corrupt, size = verify_store(default_store(), args.repair, advance, is_misnamed)
    if args.json:
        print_json({"bytes": size, "damaged": [_entry_as_data(entry) for entry in corrupt]})
    else:
        for entry in corrupt:
            say(_entry_text(entry))
        say(f"{bytes_text(size)} hashed; corrupt entries: {len(corrupt) or 'none'}")
        _print_remedy(corrupt, args.repair)
    return 1 if corrupt else 0


def _print_remedy(corrupt: Sequence[CorruptEntry], repaired: bool) -> None:
    from vertebra._cache.default_store import cache_folder

    own = [entry for entry in corrupt if entry.root == cache_folder()]
    if own and not repaired:
        say("To remove corrupt entries, run: vertebra cache verify --repair. Needed files are downloaded again.")
    if len(own) < len(corrupt):
        say("Corrupt entries in cache tiers are not removed, because tiers are read-only here.")


def _entry_as_data(entry: CorruptEntry) -> dict[str, Any]:
    return {
        "path": str(entry.path),
        "problem": entry.problem,
        "preset": None if entry.preset is None else str(entry.preset),
        "file": entry.name,
        "other_presets": entry.others,
        "repaired": entry.repaired,
    }


def _entry_text(entry: CorruptEntry) -> str:
    name = f"{entry.name} of {entry.preset}" if entry.preset else str(entry.path)
    name += f" and {entry.others} more" if entry.others else ""
    return f"{name}: {entry.problem}{' (removed)' if entry.repaired else ''}"


# === prune, path ===


def _prune(args: argparse.Namespace) -> int:
    from vertebra._cache.default_store import cache_folder
    from vertebra._cache.prune import prune
    from vertebra._cache.scan import scan_cache
    from vertebra._resolve.candidates import unpinned

    scan = scan_cache(cache_folder())
    handles = [handle for preset in args.presets for handle in _cached_handles(scan, preset)]
    report = prune(scan.root, handles, args.older_than, args.dry_run, unpinned)
    if args.json:
        from dataclasses import asdict

        print_json(asdict(report))
    else:
        _print_report(report, "would be removed" if args.dry_run else "removed")
    return 0


def _cached_handles(scan: CacheScan, preset: str) -> list[PresetHandle]:
    """Returns those handles that a text may mean and the cache knows; if it knows none, the first of all."""
    from vertebra._resolve.candidates import handle_variants, unpinned

    handles = handle_variants(preset)
    return [handle for handle in handles if scan.matching(handle, unpinned)] or handles[:1]


def _print_report(report: PruneReport, removed: str) -> None:
    for preset in report.presets:
        say(f"{removed}: {preset}")
    counts = {"blobs": report.blobs, "partial downloads": report.partials, "locks": report.locks}
    listed = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    say(f"{removed}: {listed or ('nothing else' if report.presets else 'nothing')}; {bytes_text(report.freed)}")


def _path(args: argparse.Namespace) -> int:
    from vertebra._cache.default_store import default_store

    cache = default_store()
    if args.json:
        print_json({"path": str(cache.root), "tiers": [str(tier) for tier in cache.tiers]})
    else:
        sys.stdout.write(f"{cache.root}\n")  # as it is: scripts use it
    return 0
