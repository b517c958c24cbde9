"""Manifest entries of a cache folder or tier that others may write to, and of bundles."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from fuzz.mutations import of_json
from fuzz.target import Read, Target, changed_settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PINNED, NAMED, FILE = f"hf://org/name@{COMMIT}", "hf://org/name", "config.json"
CONTENT = b"{}"
SHA = hashlib.sha256(CONTENT).hexdigest()
LISTED = {"name": FILE, "size": len(CONTENT), "digest": f"sha256:{SHA}"}
FILE_LIST = {"handle": PINNED, "files": [LISTED]}
RECORD = {"handle": PINNED, "name": FILE, "size": len(CONTENT), "sha256": SHA}
WORDS = (
    "handle",
    "files",
    "name",
    "size",
    "digest",
    "sha256",
    "pinned",
    "verified",
    PINNED,
    NAMED,
    FILE,
    f"sha256:{SHA}",
)


def paths(root: Path) -> list[Path]:
    """Returns the paths of a file list, a record and a ref in a cache folder."""
    from vertebra import PresetHandle
    from vertebra._cache.layout import file_path, preset_path, ref_path

    pinned = PresetHandle.parse(PINNED)
    return [preset_path(root, pinned), file_path(root, pinned, FILE), ref_path(root, PresetHandle.parse(NAMED))]


def fill(root: Path) -> None:
    """Writes a sound cache folder with one preset."""
    from vertebra._cache.layout import blob_path

    blob = blob_path(root, SHA)
    for path, entry in zip(paths(root), (FILE_LIST, RECORD, {"handle": NAMED, "pinned": PINNED}), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entry))
    blob.parent.mkdir(parents=True)
    blob.write_bytes(CONTENT)


@contextlib.contextmanager
def open_entries(folder: Path) -> Iterator[Read]:
    from vertebra import PresetHandle
    from vertebra._cache.scan import last_used, scan_cache
    from vertebra._cache.store import Store
    from vertebra._resolve.candidates import is_revision, unpinned

    root = folder / "cache"
    fill(root)
    entries, pinned, named = paths(root), PresetHandle.parse(PINNED), PresetHandle.parse(NAMED)

    def read(data: bytes) -> None:
        for path in entries:
            path.write_bytes(data)
        store = Store(folder / "other", [root])
        for file in store.file_list(pinned) or ():
            store.find(pinned, file)
        store.ref(named, is_revision)
        scan = scan_cache(root)
        for preset in scan.presets.values():
            last_used(scan.blobs, preset)
        scan.matching(named, unpinned)
        scan.referenced()

    yield read


@contextlib.contextmanager
def open_bundle(folder: Path) -> Iterator[Read]:
    from vertebra._presets.bundle import read_bundle

    bundle, cache = folder / "bundle", folder / "cache"
    fill(bundle)
    entries = paths(bundle)
    sound = [path.read_bytes() for path in entries]

    def read(data: bytes) -> None:
        shutil.rmtree(cache, ignore_errors=True)
        for path, content in zip(entries, sound, strict=True):
            path.write_bytes(content)
        kind = 2 if b"pinned" in data else 0 if b"files" in data else 1
        entries[kind].write_bytes(data)
        read_bundle([], bundle)

    with changed_settings(VERTEBRA_CACHE=str(cache)):
        yield read


def seeds() -> list[bytes]:
    unlisted = {**FILE_LIST, "files": [{**LISTED, "digest": None}]}
    refs = {"handle": NAMED, "pinned": PINNED}
    return [json.dumps(entry).encode() for entry in (FILE_LIST, unlisted, RECORD, {**RECORD, "verified": False}, refs)]


TARGETS = [
    Target("cache-entry", open_entries, seeds, of_json, WORDS),
    Target("bundle", open_bundle, seeds, of_json, WORDS),
]
