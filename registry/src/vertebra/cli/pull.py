"""`vertebra pull PRESET...` and `vertebra bundle PRESET... -o DIR`: presets fetched ahead, and carried offline."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.cli.output import bytes_text, plain_warnings, print_json, printable
from vertebra.cli.progress import progress_bar
from vertebra.errors import PresetNotFoundError

if TYPE_CHECKING:
    from vertebra._presets.bundle import BundledPreset
    from vertebra._resolve.preset_folder import PresetFolder


def add_commands(commands: Any) -> None:
    """Adds the commands."""
    text = "fetch presets into the cache, so that they load without a network"
    pull = commands.add_parser("pull", help=text, description=text)
    part = pull.add_mutually_exclusive_group()
    part.add_argument("--only", action="append", metavar="GLOB", help="only files of these names; may be repeated")
    part.add_argument("--needed", action="store_true", help="only what from_preset reads: config, weights, certificate")
    part.add_argument("--from", dest="bundle", type=Path, metavar="DIR", help="take them, or all, out of a bundle")
    text = "write a folder with complete presets, to be used as a cache tier or imported with pull --from"
    bundle = commands.add_parser("bundle", help=text, description=text)
    bundle.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder to write; whole or not at all")
    bundle.add_argument("--replace", action="store_true", help="replace a bundle that holds other presets")
    for parser, run in ((pull, _pull), (bundle, _bundle)):
        parser.add_argument("presets", nargs="*", metavar="PRESET", help="a preset id or a handle")
        parser.add_argument(
            "--locked", action="store_true", help="as the lockfile has them; without presets, all of it"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run, parser=parser)


def _presets(chosen: argparse.Namespace) -> list[str]:
    if chosen.presets or not chosen.locked:
        if not chosen.presets:
            chosen.parser.error("name presets, or take those of the lockfile with --locked")
        return list(dict.fromkeys(chosen.presets))
    from vertebra._resolve.lockfile import lockfile_path, read_lockfile

    return list(read_lockfile(lockfile_path()).presets)


# === pull ===


def _pull(chosen: argparse.Namespace) -> int:
    plain_warnings()
    if chosen.bundle is not None:
        return _import(chosen)
    done = []
    for preset in _presets(chosen):
        facts = pull_preset(preset, chosen.only, chosen.needed, True if chosen.locked else None)
        done.append(facts)
        if not chosen.json:
            _print_pulled(facts)
    if chosen.json:
        print_json(done)
    return 0


def pull_preset(
    preset: str, only: Sequence[str] | None = None, needed: bool = False, locked: bool | None = None
) -> dict[str, Any]:
    """Fetches a preset and returns what it has and where, as plain data.

    Args:
        preset: What `from_preset` takes.
        only: Globs of names of files; None means all files.
        needed: Whether to fetch what `from_preset` reads, and nothing else.
        locked: Whether it must be what the lockfile says; None means as the user's settings say.

    Raises:
        PresetNotFoundError: there is no such preset, or no file that a glob matches.
    """
    from vertebra._resolve.open import open_folder

    folder = open_folder(preset, locked)
    if not needed and not only:
        folder.require_complete()
    before = {file.name for file in folder.files if folder.is_local(file.name)}
    names = _needed(folder) if needed else _matching(folder, only)
    paths = dict(zip(names, folder.fetch_all(names), strict=True))
    folder.record_locked()
    files = [file for file in folder.files if file.name in paths]
    return {
        "preset": preset,
        "handle": str(folder.handle),
        "files": [{"name": file.name, "size": file.size, "path": str(paths[file.name])} for file in files],
        "bytes": sum(file.size for file in files),
        "fetched": sum(file.size for file in files if file.name not in before),
    }


def _matching(folder: PresetFolder, only: Sequence[str] | None) -> list[str]:
    for glob in only or ():
        if not any(fnmatchcase(name, glob) for name in folder.names):
            names = ", ".join(sorted(folder.names)[:10])
            raise PresetNotFoundError(folder.handle, f"no file of it matches {glob!r}; it has {names}")
    return [f.name for f in folder.files if only is None or any(fnmatchcase(f.name, glob) for glob in only)]


def _needed(folder: PresetFolder) -> list[str]:
    from vertebra._formats.registry import read_description
    from vertebra._presets.certificate_header import CERTIFICATE
    from vertebra._resolve.preset_folder import CONFIG

    contents = read_description(folder)
    if not folder.is_complete:
        contents.open_headers()  # the weights must be among what is known
    used = contents.files.used(folder.names) | {CONFIG, CERTIFICATE}
    return [file.name for file in folder.files if file.name in used]


def _print_pulled(facts: dict[str, Any]) -> None:
    place = "" if facts["preset"] == facts["handle"] else f" is {facts['handle']}"
    print(printable(f"{facts['preset']}{place}"))
    print(
        f"  {len(facts['files'])} files, {bytes_text(facts['bytes'])}, of which {bytes_text(facts['fetched'])} fetched"
    )
    for file in facts["files"]:
        print(f"  {printable(file['name'])}  {bytes_text(file['size'])}  {file['path']}")


def _import(chosen: argparse.Namespace) -> int:
    from vertebra._presets.bundle import read_bundle

    if chosen.locked:
        chosen.parser.error("--from takes presets as the bundle has them; check them with vertebra verify")
    with progress_bar("importing") as advance:
        done = read_bundle(chosen.presets, chosen.bundle, advance)
    _print_carried(done, chosen.json)
    return 0


# === bundle ===


def _bundle(chosen: argparse.Namespace) -> int:
    plain_warnings()
    from vertebra._presets.bundle import write_bundle

    presets = _presets(chosen)
    with progress_bar("bundling") as advance:
        done = write_bundle(presets, chosen.output, True if chosen.locked else None, advance, chosen.replace)
    _print_carried(done, chosen.json)
    if not chosen.json:
        place = chosen.output
        print(f"Use it with VERTEBRA_CACHE_TIERS={place}, or copy it into a cache: vertebra pull --from {place}")
    return 0


def _print_carried(done: Sequence[BundledPreset], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"preset": item.requested, "handle": str(item.handle), "files": item.files, "bytes": item.size}
                for item in done
            ]
        )
        return
    for item in done:
        place = "" if item.requested == str(item.handle) else f" is {item.handle}"
        print(printable(f"{item.requested}{place}: {item.files} files, {bytes_text(item.size)}"))
