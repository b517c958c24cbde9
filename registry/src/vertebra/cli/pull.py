"""`vertebra pull PRESET...` and `vertebra bundle PRESET... -o DIR`: download presets, and pack them in a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.cli.output import bytes_text, plain_warnings, print_error, print_json, print_left_out
from vertebra.cli.progress import progress_bar
from vertebra.cli.terminal.streams import say
from vertebra.errors import SettingsError, VertebraError
from vertebra.file_names import CERTIFICATE, CONFIG

if TYPE_CHECKING:
    from vertebra._presets.bundle import BundledPreset
    from vertebra._resolve.preset_folder import PresetFolder


def add_commands(commands: Any) -> None:
    """Adds the commands."""
    text = "download presets and LoRA adapters into the cache, so that they load without a network"
    pull = commands.add_parser("pull", help=text, description=text)
    files = pull.add_mutually_exclusive_group()
    files.add_argument("--only", action="append", metavar="GLOB", help="only files that match; may be repeated")
    needed = "only files that are read: config, weights, certificate, or those of an adapter"
    files.add_argument("--needed", action="store_true", help=needed)
    bundle_help = "import these presets, or all, from a bundle instead"
    files.add_argument("--from", dest="bundle", type=Path, metavar="DIR", help=bundle_help)
    to = "also copy the files into this folder, under their own names, for other programs"
    pull.add_argument("--to", metavar="DIR", help=to)
    pull.add_argument("--replace", action="store_true", help="replace files of the same names in the folder of --to")
    signed = "pull only presets that are signed by one of the keys in the settings"
    pull.add_argument("--require-signature", action="store_true", help=signed)
    key = "the same, with the trusted public key or root certificate in this file (PEM) instead; may be repeated"
    pull.add_argument("--signature-key", type=Path, action="append", metavar="FILE", help=key)
    text = (
        "write a folder with complete presets and LoRA adapters, for use as a cache tier or for import with pull --from"
    )
    bundle = commands.add_parser("bundle", help=text, description=text)
    bundle.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder to write")
    bundle.add_argument("--replace", action="store_true", help="replace a bundle that holds other presets")
    for parser, run in ((pull, _pull), (bundle, _bundle)):
        parser.add_argument(
            "presets", nargs="*", metavar="PRESET", help="a preset id, or the handle of a preset or adapter"
        )
        locked = "use the revisions in the lockfile; without presets, all locked presets"
        parser.add_argument("--locked", action="store_true", help=locked)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run, parser=parser)


def _presets(args: argparse.Namespace) -> list[str]:
    if args.presets or not args.locked:
        if not args.presets:
            args.parser.error("name presets, or use --locked for those in the lockfile")
        return list(dict.fromkeys(args.presets))
    from vertebra._resolve.lockfile import lockfile_path, read_lockfile

    return list(read_lockfile(lockfile_path()).presets)


# === pull ===


def _pull(args: argparse.Namespace) -> int:
    plain_warnings()
    if args.bundle is not None:
        return _import(args)
    presets = _presets(args)
    if args.to is None and args.replace:
        args.parser.error("--replace applies to --to only")
    if args.to is not None and len(presets) > 1:
        args.parser.error("--to takes the files of one preset: pull each preset into a folder of its own")
    pulled = [_pull_one(preset, args) for preset in presets]
    if args.json:
        print_json(pulled)
    failed = [facts["preset"] for facts in pulled if facts["error"] is not None]
    if failed and len(presets) > 1:
        names = ", ".join(failed)
        say(f"error: {len(failed)} of {len(presets)} presets could not be pulled: {names}", file=sys.stderr)
    return 1 if failed else 0


def _pull_one(preset: str, args: argparse.Namespace) -> dict[str, Any]:
    """Pulls one preset and prints the result; an error is printed and returned, so that other presets are pulled."""
    try:
        facts = pull_preset(preset, args.only, args.needed, True if args.locked else None, _keys(args))
        if args.to is not None:
            facts |= _copied(facts, args)
    except VertebraError as error:
        print_error(error)
        return {"preset": preset, "error": str(error)}
    if not args.json:
        _print_pulled(facts)
    return facts | {"error": None}


def _keys(args: argparse.Namespace) -> Sequence[str | Path] | None:
    """Returns the keys that must have signed a preset, or None for those of the settings, if these require one."""
    if args.signature_key or not args.require_signature:
        return args.signature_key or None
    from vertebra._configuration.settings import settings

    if not settings().signature_keys:
        remedy = "Name one with --signature-key FILE, or in the settings: vertebra config set signature_keys FILE..."
        raise SettingsError("signature_keys", "a signature is required, but no key is trusted", remedy)
    return settings().signature_keys


def _copied(facts: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Copies the files of a preset, and returns the facts that name the copies instead of the cached files."""
    from vertebra._resolve.local_files import copy_files

    cached = {file["name"]: Path(file["path"]) for file in facts["files"]}
    with progress_bar("copying") as advance:
        copies = copy_files(cached, args.to, args.replace, advance)
    return {"files": [file | {"path": str(copies[file["name"]])} for file in facts["files"]]}


def pull_preset(
    preset: str,
    only: Sequence[str] | None = None,
    needed: bool = False,
    locked: bool | None = None,
    keys: Sequence[str | Path] | None = None,
) -> dict[str, Any]:
    """Downloads a preset and returns its handle and its files with their paths, as plain data.

    Args:
        preset: A preset id, a handle or a path, as for `from_preset`.
        only: Glob patterns of file names; None means all files.
        needed: Whether to download only the files that `from_preset` reads.
        locked: Whether the preset must match the lockfile; None means the user's setting.
        keys: The keys of which one must have signed the preset; None means as the user's settings say.

    Raises:
        PresetNotFoundError: there is no such preset, or no file that matches a pattern.
    """
    from vertebra._resolve.local_files import matching
    from vertebra._resolve.open import open_folder

    folder = open_folder(preset, locked, keys)
    if not needed and not only:
        folder.require_complete()
    before = {file.name for file in folder.files if folder.is_local(file.name)}
    names = _needed(folder) if needed else matching(folder, only or ())
    paths = dict(zip(names, folder.fetch_all(names), strict=True))
    folder.record_locked()
    files = [file for file in folder.files if file.name in paths]
    return {
        "preset": preset,
        "handle": str(folder.handle),
        "files": [{"name": file.name, "size": file.size, "path": str(paths[file.name])} for file in files],
        "bytes": sum(file.size for file in files),
        "fetched": sum(file.size for file in files if file.name not in before),
        "left_out": folder.left_out,
        "signed": folder.is_signed,
    }


def _needed(folder: PresetFolder) -> list[str]:
    from vertebra._lora.files.adapter_files import find_files, holds_adapter

    if holds_adapter(folder):
        return list(find_files(folder).names)
    from vertebra._formats.registry import read_description

    contents = read_description(folder)
    if not folder.is_complete:
        contents.open_headers()  # fails unless the listed files include the weights
    contents.require_weights()
    used = contents.files.used(folder.names) | {CONFIG, CERTIFICATE}
    return [file.name for file in folder.files if file.name in used]


def _print_pulled(facts: dict[str, Any]) -> None:
    resolved = "" if facts["preset"] == facts["handle"] else f" -> {facts['handle']}"
    say(f"{facts['preset']}{resolved}")
    say(f"  {len(facts['files'])} files, {bytes_text(facts['bytes'])}; {bytes_text(facts['fetched'])} downloaded")
    for file in facts["files"]:
        say(f"  {file['name']}  {bytes_text(file['size'])}  {file['path']}")
    print_left_out(facts["left_out"])
    if facts["signed"]:
        say("  signed by a trusted key")


def _import(args: argparse.Namespace) -> int:
    from vertebra._presets.bundle import read_bundle

    if args.locked:
        args.parser.error("--locked does not apply to --from; compare imported presets with vertebra verify")
    if args.to is not None:
        args.parser.error("--to does not apply to --from: import the preset first, and then pull it with --to")
    if args.require_signature or args.signature_key:
        args.parser.error("a signature is verified when a preset is pulled or loaded, after --from has imported it")
    with progress_bar("importing") as advance:
        bundled = read_bundle(args.presets, args.bundle, advance)
    _print_bundled(bundled, args.json)
    return 0


# === bundle ===


def _bundle(args: argparse.Namespace) -> int:
    plain_warnings()
    from vertebra._presets.bundle import write_bundle

    presets = _presets(args)
    with progress_bar("bundling") as advance:
        bundled = write_bundle(presets, args.output, True if args.locked else None, advance, args.replace)
    _print_bundled(bundled, args.json)
    if not args.json:
        folder = Path(args.output).resolve()  # a relative path would mean another folder after a cd
        say(f"To use it, set VERTEBRA_CACHE_TIERS={folder}; or import it into a cache: vertebra pull --from {folder}")
    return 0


def _print_bundled(bundled: Sequence[BundledPreset], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"preset": item.requested, "handle": str(item.handle), "files": item.files, "bytes": item.size}
                | {"left_out": item.left_out}
                for item in bundled
            ]
        )
        return
    for item in bundled:
        resolved = "" if item.requested == str(item.handle) else f" -> {item.handle}"
        say(f"{item.requested}{resolved}: {item.files} files, {bytes_text(item.size)}")
        print_left_out(item.left_out)
