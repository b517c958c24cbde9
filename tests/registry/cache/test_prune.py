"""Pruning: blobs that no preset needs are removed, and running processes lose nothing."""

import hashlib
import mmap
import os
import threading
import time

import pytest

from vertebra import PresetHandle
from vertebra._cache import prune as tidying
from vertebra._cache.prune import prune
from vertebra._cache.scan import scan_cache
from vertebra._cache.transfer.fetch import fetch_files
from vertebra._resolve.open import open_folder
from vertebra._system.ownership import ABANDONED
from vertebra.errors import PresetNotFoundError

LARGE = bytes(range(256)) * 20
SMALL_OTHER = b'{"b": 2}'


@pytest.fixture
def later(monkeypatch):
    """Moves the clock that tidying looks at."""

    def move(seconds):
        monkeypatch.setattr(tidying.time, "time", lambda now=time.time: now() + seconds)

    return move


def put(cache, data, sha256):
    stage = cache.stage("partial", "x")
    stage.write_bytes(data)
    return cache.put_blob(stage, sha256)


def test_what_presets_need_stays(full, later, digest):
    before = digest(full.root)
    later(tidying.MARGIN * 2)
    assert prune(full.root).freed == 0
    assert digest(full.root) == before


def test_a_content_that_nobody_notes_goes_once_it_is_old(full, later):
    blob = put(full, b"orphan", "0" * 64)
    os.utime(blob, (0, 0))  # when it was last written to says nothing: it was moved here just now
    assert prune(full.root).blobs == 0
    later(tidying.MARGIN + 10)
    done = prune(full.root, dry_run=True)
    assert (done.blobs, done.freed) == (1, 6)
    assert blob.exists()
    assert prune(full.root).freed == 6
    assert not blob.exists()


def test_a_content_that_is_only_listed_is_needed(toy, full, later):
    """Its file was found by what the source promises, without being fetched for this preset."""
    toy.add("copy", {"model.bin": LARGE})
    assert open_folder("toy://copy").fetch("model.bin")
    later(tidying.MARGIN * 2)
    prune(full.root, [PresetHandle("toy", "bert")])
    toy.asked.clear()
    assert open_folder("toy://copy@r1").fetch("model.bin").read_bytes() == LARGE
    assert toy.reads() == []


def test_a_content_that_was_found_by_its_hash_is_noted(toy, full):
    """As in a process that knows the preset from a lockfile, and has never listed it."""
    toy.add("copy", {"model.bin": LARGE})
    copy = PresetHandle("toy", "copy", "r1")
    fetch_files(full, toy, copy, toy.resolve_snapshot(copy).files, offline=False)
    prune(full.root, [PresetHandle("toy", "bert")])
    assert scan_cache(full.root).blobs.keys() == {hashlib.sha256(LARGE).hexdigest()}
    assert toy.reads() == []


def test_what_was_left_unfinished_goes_and_what_is_at_work_stays(full, later):
    mine = full.stage("partial", "mine")
    left = full.root / "partial" / f"key.{ABANDONED}.0.tmp"
    left.write_bytes(b"123")
    aside = full.root / "partial" / f"key.{ABANDONED}.1.aside"
    aside.mkdir()
    theirs = full.root / "partial" / "key.other-1.0.tmp"
    theirs.write_bytes(b"1")
    done = prune(full.root)
    assert done.partials == 2
    assert sorted(full.root.joinpath("partial").iterdir()) == sorted([mine, theirs])
    later(tidying.MARGIN + 10)
    assert prune(full.root).partials == 1
    assert mine.exists()


def test_old_locks_go(full, later):
    lock = full.root / "locks" / "key.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    assert prune(full.root).locks == 0 or lock.exists()
    later(2 * 86_400)
    assert prune(full.root).locks >= 1
    assert not lock.exists()


@pytest.mark.parametrize("text", ["toy://bert", "toy://bert@r1"])
def test_a_preset_goes_with_its_contents_at_once(toy, full, text):
    toy.add("other", {"config.json": b'{"a": 1}', "own": b"own"})
    open_folder("toy://other").fetch_all(["config.json", "own"])
    done = prune(full.root, [PresetHandle.parse(text)])
    assert (done.presets, done.blobs, done.freed) == (["toy://bert@r1"], 1, len(LARGE))
    held = scan_cache(full.root)
    assert [str(handle) for handle in held.presets] == ["toy://other@r1"]
    assert [str(handle) for handle in held.refs] == ["toy://other"]
    assert open_folder("toy://bert").fetch("model.bin").read_bytes() == LARGE


def test_a_handle_without_revision_means_all_revisions(toy, full):
    toy.add("bert", {"config.json": b"{}"}, "r2")
    open_folder("toy://bert").fetch("config.json")
    assert prune(full.root, [PresetHandle("toy", "bert")]).presets == ["toy://bert@r2", "toy://bert@r1"]
    assert scan_cache(full.root).presets == {}


def test_a_source_says_what_its_revisions_have_in_common(toy, full):
    done = prune(full.root, [PresetHandle("toy", "all")], unpinned=lambda handle: PresetHandle(handle.scheme, "all"))
    assert done.presets == ["toy://bert@r1"]


def test_a_content_that_is_taken_up_meanwhile_stays(toy, full, monkeypatch):
    monkeypatch.setattr(tidying, "MARGIN", 1.5)
    orphan = put(full, SMALL_OTHER, hashlib.sha256(SMALL_OTHER).hexdigest())
    time.sleep(1.6)
    toy.add("other", {"config.json": SMALL_OTHER})
    count = tidying.size_of

    def take_up(paths):
        size = count(paths)
        open_folder("toy://other").fetch("config.json")
        return size

    monkeypatch.setattr(tidying, "size_of", take_up)
    prune(full.root)
    assert orphan.read_bytes() == SMALL_OTHER
    assert toy.reads() == []


def test_a_content_that_another_preset_takes_up_while_one_goes_stays(toy, full, monkeypatch):
    toy.add("other", {"weights": LARGE})
    count = tidying.size_of

    def take_up(paths):
        size = count(paths)
        time.sleep(0.01)
        open_folder("toy://other").fetch("weights")
        return size

    monkeypatch.setattr(tidying, "size_of", take_up)
    prune(full.root, [PresetHandle("toy", "bert")])
    monkeypatch.undo()
    toy.asked.clear()
    assert open_folder("toy://other@r1").fetch("weights").read_bytes() == LARGE
    assert toy.reads() == []


def test_a_preset_that_is_not_there_is_an_error_with_similar_names(full):
    with pytest.raises(PresetNotFoundError) as caught:
        prune(full.root, [PresetHandle("toy", "bart")])
    assert caught.value.suggestions == ["toy://bert", "toy://bert@r1"]
    assert len(scan_cache(full.root).blobs) == 2


def test_presets_that_were_long_not_used_go(full, later):
    assert prune(full.root, older_than=10).presets == []
    later(9 * 86_400)
    assert prune(full.root, older_than=10).presets == []
    later(11 * 86_400)
    assert prune(full.root, older_than=10, dry_run=True).blobs == 2
    assert prune(full.root, older_than=10).presets == ["toy://bert@r1"]
    assert scan_cache(full.root).blobs == {}
    assert not any((full.root / "presets").iterdir())  # nor are there empty folders


def test_what_is_mapped_can_be_read_after_it_is_gone(full):
    path = open_folder("toy://bert").fetch("model.bin")
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    prune(full.root, [PresetHandle("toy", "bert")])
    assert not path.exists()
    assert view[:] == LARGE


def test_readers_do_not_notice_that_others_tidy(toy, full, later):
    later(tidying.MARGIN * 2)
    failures, ended = [], threading.Event()

    def read():
        while not ended.is_set():
            try:
                assert open_folder("toy://bert@r1").fetch("model.bin").read_bytes() == LARGE
            except Exception as error:
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for number in range(4):
        put(full, b"orphan", f"{number:064}")
        prune(full.root)
    ended.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert len(scan_cache(full.root).blobs) == 2


def test_a_folder_that_is_not_there_is_tidy(tmp_path):
    assert prune(tmp_path / "nothing").freed == 0
