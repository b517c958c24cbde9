"""`vertebra cache ls|verify|prune|path`: what is kept of presets that are elsewhere, and whether it is sound."""

from __future__ import annotations

import argparse
import contextlib
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.cli.output import bytes_text, print_json, print_rows, printable
from vertebra.cli.progress import progress_bar

if TYPE_CHECKING:
    from vertebra._cache.prune import PruneReport
    from vertebra._cache.scan import CachedPreset, CacheScan
    from vertebra._cache.verify import CorruptEntry
    from vertebra.handles import PresetHandle


def add_commands(commands: Any) -> None:
    """Adds the group."""
    text = "list, check and tidy what is kept of presets that are elsewhere"
    group = commands.add_parser("cache", help=text, description=text).add_subparsers(metavar="ACTION", required=True)
    _add(group, "ls", "list the presets in the cache, with their bytes and last use", _list)
    verify = _add(
        group, "verify", "hash every content and compare every note; exit status 1 if one is damaged", _verify
    )
    verify.add_argument("--repair", action="store_true", help="remove what is damaged, to be fetched again when needed")
    prune = _add(group, "prune", "remove what no preset needs, and presets", _prune)
    prune.add_argument(
        "presets", nargs="*", metavar="PRESET", help="also these: ids or handles, of all revisions or one"
    )
    prune.add_argument("--older-than", type=_days, metavar="DAYS", help="also presets that were not used for so long")
    prune.add_argument("--dry-run", action="store_true", help="say what would be removed")
    _add(group, "path", "print the folder", _path)


def _add(group: Any, name: str, text: str, run: Any) -> Any:
    parser = group.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _days(text: str) -> float:
    with contextlib.suppress(ValueError):
        if float(text) >= 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of days, which is 0 or more")


# === ls ===


def _list(chosen: argparse.Namespace) -> int:
    from vertebra._cache.default_store import default_store
    from vertebra._cache.prune import orphans
    from vertebra._cache.scan import scan_cache, size_of

    cache = default_store()
    held = {place: scan_cache(place) for place in (cache.root, *cache.tiers)}
    rows = [_row(place, inside, holding) for place, inside in held.items() for holding in inside.presets.values()]
    own = held[cache.root]
    left = orphans(own)
    facts = {
        "path": str(cache.root),
        "tiers": [str(tier) for tier in cache.tiers],
        "presets": rows,
        "bytes": size_of([*own.blobs.values()]),
        "unfinished": {"count": len(own.partials), "bytes": size_of(own.partials)},
        "unreferenced": {"count": len(left), "bytes": size_of(left)},
    }
    if chosen.json:
        print_json(facts)
    else:
        _print_list(facts)
    return 0


def _row(place: Path, held: CacheScan, holding: CachedPreset) -> dict[str, Any]:
    from vertebra._cache.scan import last_used, size_of
    from vertebra._resolve.candidates import is_misnamed

    here = [held.blobs[sha256] for _, sha256, _ in holding.blobs() if sha256 in held.blobs]
    used = datetime.datetime.fromtimestamp(last_used(held.blobs, holding), datetime.UTC)
    return {
        "preset": str(holding.handle),
        "revisions_of": [
            str(handle)
            for handle, pinned in held.refs.items()
            if pinned == holding.handle and not is_misnamed(pinned, handle)
        ],
        "place": str(place),
        "here": len(here),
        "files": None if holding.listed is None else len(holding.listed),
        "bytes": size_of(here),
        "used": used.isoformat(timespec="seconds"),
    }


def _print_list(facts: dict[str, Any]) -> None:
    shown = [
        row
        | {
            "files": f"{row['here']} of {'?' if row['files'] is None else row['files']}",
            "bytes": bytes_text(row["bytes"]),
            "used": row["used"][:10],
        }
        for row in facts["presets"]
    ]
    columns = ("preset", "files", "bytes", "used", *(["place"] if facts["tiers"] else []))
    if shown:
        print_rows(shown, columns, as_json=False)
    else:
        print("no presets")
    print(f"{bytes_text(facts['bytes'])} in {facts['path']}")
    for what, name in {"unfinished": "unfinished downloads", "unreferenced": "contents that no preset has"}.items():
        if facts[what]["count"]:
            print(
                f"{facts[what]['count']} {name}, {bytes_text(facts[what]['bytes'])}: remove with vertebra cache prune"
            )


# === verify ===


def _verify(chosen: argparse.Namespace) -> int:
    from vertebra._cache.default_store import default_store
    from vertebra._cache.verify import verify_store
    from vertebra._resolve.candidates import is_misnamed

    with progress_bar("hashing") as advance:
        damaged, size = verify_store(default_store(), chosen.repair, advance, is_misnamed)
    if chosen.json:
        print_json({"bytes": size, "damaged": [_damage_as_data(damage) for damage in damaged]})
    else:
        for damage in damaged:
            print(_damage_text(damage))
        print(f"{bytes_text(size)} hashed; {len(damaged)} damaged" if damaged else f"{bytes_text(size)} hashed; sound")
        _print_remedy(damaged, chosen.repair)
    return 1 if damaged else 0


def _print_remedy(damaged: Sequence[CorruptEntry], repaired: bool) -> None:
    from vertebra._cache.default_store import cache_folder

    own = [damage for damage in damaged if damage.root == cache_folder()]
    if own and not repaired:
        print("vertebra cache verify --repair removes them from the cache, to be fetched again when they are needed.")
    if len(own) < len(damaged):
        print("What is damaged in a tier is left alone, as tiers are only read: mend it where it is written.")


def _damage_as_data(damage: CorruptEntry) -> dict[str, Any]:
    return {
        "path": str(damage.path),
        "problem": damage.problem,
        "preset": None if damage.preset is None else str(damage.preset),
        "file": damage.name,
        "other_presets": damage.others,
        "repaired": damage.repaired,
    }


def _damage_text(damage: CorruptEntry) -> str:
    what = f"{damage.name} of {damage.preset}" if damage.preset else str(damage.path)
    what += f" and {damage.others} more" if damage.others else ""
    return printable(f"{what}: {damage.problem}{' (removed)' if damage.repaired else ''}")


# === prune, path ===


def _prune(chosen: argparse.Namespace) -> int:
    from vertebra._cache.default_store import cache_folder
    from vertebra._cache.prune import prune
    from vertebra._cache.scan import scan_cache
    from vertebra._resolve.candidates import unpinned

    held = scan_cache(cache_folder())
    handles = [handle for preset in chosen.presets for handle in _in_cache(held, preset)]
    done = prune(held.root, handles, chosen.older_than, chosen.dry_run, unpinned)
    if chosen.json:
        from dataclasses import asdict

        print_json(asdict(done))
    else:
        _print_tidied(done, "would be removed" if chosen.dry_run else "removed")
    return 0


def _in_cache(held: CacheScan, preset: str) -> list[PresetHandle]:
    """Returns those handles that a text may stand for of which the cache has something, or one that it has not."""
    from vertebra._resolve.candidates import handle_variants, unpinned

    handles = handle_variants(preset)
    return [handle for handle in handles if held.matching(handle, unpinned)] or handles[:1]


def _print_tidied(done: PruneReport, removed: str) -> None:
    for preset in done.presets:
        print(f"{removed}: {printable(preset)}")
    counts = {"contents": done.blobs, "unfinished downloads": done.partials, "locks": done.locks}
    what = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    print(f"{removed}: {what or ('nothing else' if done.presets else 'nothing')}; {bytes_text(done.freed)}")


def _path(chosen: argparse.Namespace) -> int:
    from vertebra._cache.default_store import default_store

    cache = default_store()
    if chosen.json:
        print_json({"path": str(cache.root), "tiers": [str(tier) for tier in cache.tiers]})
    else:
        print(cache.root)
    return 0
