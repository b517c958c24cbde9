"""Caches of other releases: what an older one wrote is read, and what a later one may write is read or passed over.

Each folder in `golden` is the cache of the release that it is named after, when that had fetched `toy://team/model`.
A release that writes anything else adds its own.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from vertebra import PresetFile, PresetHandle
from vertebra._cache.prune import prune
from vertebra._cache.scan import scan_cache
from vertebra._cache.verify import verify_store
from vertebra._resolve.open import open_folder
from vertebra.errors import OfflineError

GOLDEN = sorted(Path(__file__).with_name("golden").iterdir())
HANDLE, PINNED = PresetHandle("toy", "team/model"), PresetHandle("toy", "team/model", "r1")
FILES = {"config.json": b'{"layers": 2}\n', "weights/model.bin": bytes(range(256)) * 8}
LISTED = [
    PresetFile("config.json", 14, None, "git:70c7e957c13decd9e2629de84619bbbf2e3b9def"),
    PresetFile("weights/model.bin", 2048, None, f"sha256:{hashlib.sha256(FILES['weights/model.bin']).hexdigest()}"),
]


@pytest.fixture
def source(toy, monkeypatch):
    """The source with the preset, which promises what each file hashes to in another way, as hubs do."""
    promises = {FILES[file.name]: file.digest for file in LISTED}
    monkeypatch.setattr(toy, "_digest", promises.get)
    toy.add("team/model", FILES)
    return toy


@pytest.fixture(params=GOLDEN, ids=lambda folder: folder.name)
def old(request, source, cache):
    """The cache that an older release wrote."""
    shutil.copytree(request.param, cache.root)
    return cache


def contents(handle):
    """Fetches all files of a preset, and returns their bytes."""
    folder = open_folder(str(handle))
    names = sorted(folder.names)
    return dict(zip(names, [path.read_bytes() for path in folder.fetch_all(names)], strict=True))


def written(root):
    """Returns the bytes of each file of a cache, except temporary ones."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for kind in ("blobs", "presets", "refs")
        for path in (root / kind).rglob("*")
        if path.is_file()
    }


# === Older ones (CA-09) ===


@pytest.mark.parametrize("handle", [HANDLE, PINNED], ids=str)
def test_what_an_older_release_wrote_is_read_without_a_network(old, source, configure, handle):
    configure(VERTEBRA_OFFLINE="1")
    assert contents(handle) == FILES
    assert open_folder(str(handle)).handle == PINNED
    assert source.asked == []


def test_what_an_older_release_wrote_is_sound_and_complete(old):
    assert old.ref(HANDLE, lambda *_: True) == PINNED
    assert [(file.name, file.size, file.digest) for file in old.file_list(PINNED)] == [
        (file.name, file.size, file.digest) for file in LISTED
    ]
    assert verify_store(old) == ([], sum(map(len, FILES.values())))
    held = scan_cache(old.root)
    assert (list(held.presets), held.refs) == ([PINNED], {HANDLE: PINNED})
    assert prune(old.root, dry_run=True).blobs == 0


def test_the_newest_is_what_is_written_now(source, cache):
    assert contents(HANDLE) == FILES
    assert written(cache.root) == written(GOLDEN[-1])


# === Later ones ===


def change_notes(cache, change):
    for path in cache.root.rglob("*.json"):
        path.write_text(json.dumps(change(json.loads(path.read_text()))))


def with_more_fields(note):
    files = {"files": [file | {"modified": 1.5, "parts": []} for file in note["files"]]} if "files" in note else {}
    return note | {"format": 2, "written": {"by": "vertebra", "version": "9.0"}} | files


def test_fields_that_are_not_known_are_passed_over(old, source, configure):
    change_notes(old, with_more_fields)
    configure(VERTEBRA_OFFLINE="1")
    assert contents(HANDLE) == FILES
    assert source.asked == []
    assert verify_store(old)[0] == []


def test_files_that_are_not_known_are_passed_over(old, source, configure):
    for name in ("blobs/index", "blobs/10/index", "presets/index", "refs/index", "partial/index", "manifests/1.json"):
        (old.root / name).parent.mkdir(exist_ok=True)
        (old.root / name).write_text("{}")
    configure(VERTEBRA_OFFLINE="1")
    assert contents(HANDLE) == FILES
    assert verify_store(old)[0] == []
    assert prune(old.root, dry_run=True).blobs == 0


LATER = {
    "lists": lambda note: [note],
    "wrapped": lambda note: {"format": 2, "note": note},
    "other handles": lambda note: note | {"handle": {"path": note["handle"]}},
    "handles of schemes that are none": lambda note: note | {"handle": f"v2+{note['handle']}#"},
    "other files": lambda note: note | {"files": {file["name"]: file for file in note.get("files", [])}},
    "other hashes": lambda note: note | {"sha256": None, "blake3": "0" * 64},
    "other promises": lambda note: note | {"files": [f | {"digest": {"blake3": "0"}} for f in note.get("files", [])]},
    "other sizes": lambda note: note | {"size": [14, "bytes"], "files": [{"name": "config.json", "size": None}]},
    "other pins": lambda note: note | {"pinned": {"revision": "r1"}},
}


@pytest.mark.parametrize("change", LATER.values(), ids=LATER)
def test_notes_that_say_it_in_another_way_are_read_or_written_again(old, source, configure, change):
    change_notes(old, change)
    verify_store(old)
    prune(old.root, dry_run=True)
    configure(VERTEBRA_OFFLINE="1")
    try:
        assert contents(HANDLE) == FILES
    except OfflineError:
        configure(VERTEBRA_OFFLINE="0")
        assert contents(HANDLE) == FILES
    assert contents(PINNED) == FILES


def test_a_note_of_another_release_is_replaced_once_it_is_needed(old, source):
    change_notes(old, LATER["wrapped"])
    assert contents(HANDLE) == FILES
    assert verify_store(old)[0] == []
    assert written(old.root) == written(GOLDEN[-1])
