"""The store: damaged entries count as missing, and names of handles are the same on every file system."""

import json
import os
import subprocess
import time

import pytest

from vertebra import PresetFile, PresetHandle
from vertebra._cache.layout import file_path, preset_path, ref_path, sha256_of
from vertebra._cache.manifest import Record
from vertebra._cache.store import Store
from vertebra._system.ownership import ABANDONED, is_abandoned
from vertebra.errors import CacheError

HANDLE = PresetHandle("toy", "a/b", "r1")
FILES = [PresetFile("config.json", 2, None, "sha256:" + "0" * 64), PresetFile("in/side", 3)]


def any_revision(pinned, handle):
    return True


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache", [tmp_path / "tier"])


def test_notes_come_back(store):
    store.put_file_list(HANDLE, FILES)
    store.put_record(HANDLE, Record("config.json", 2, "1" * 64))
    store.put_ref(PresetHandle("toy", "a/b"), HANDLE)
    assert store.file_list(HANDLE) == FILES
    assert store.record(HANDLE, "config.json") == Record("config.json", 2, "1" * 64)
    assert store.ref(PresetHandle("toy", "a/b"), any_revision) == HANDLE
    assert store.file_list(PresetHandle("toy", "a/b", "r2")) is store.record(HANDLE, "in/side") is None
    assert store.partials() == []
    notes = list(store.root.rglob("*.json"))
    assert {path.stat().st_mode & 0o777 for path in notes} == {0o644}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"handle": "toy://other"}',
        '{"handle": "toy://a/b@r1", "name": "config.json", "size": -1}',
        '{"handle": "toy://a/b@r1", "name": "config.json", "size": "2", "sha256": 5, "files": 1, "pinned": "x"}',
        '{"handle": "toy://a/b@r1", "files": [{"name": "x"}], "pinned": 1}',
        '{"handle": "toy://a/b@r1", "files": [{"name": "x", "size": 1, "digest": 1}], "pinned": null}',
        '{"handle": "toy://a/b@r1", "name": "config.json", "size": 2, "sha256": "../../../../etc/passwd"}',
    ],
)
def test_a_note_that_is_damaged_says_nothing(store, text):
    for path in (
        preset_path(store.root, HANDLE),
        file_path(store.root, HANDLE, "config.json"),
        ref_path(store.root, HANDLE),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert store.file_list(HANDLE) is None
    assert store.record(HANDLE, "config.json") is None
    assert store.ref(HANDLE, any_revision) is None
    store.put_file_list(HANDLE, FILES)
    assert store.file_list(HANDLE) == FILES


def test_what_a_source_promises_decides_over_what_is_noted(store):
    store.put_record(HANDLE, Record("config.json", 2, "1" * 64))
    assert store.find(HANDLE, FILES[0]) is None
    assert sha256_of(FILES[0]) == "0" * 64
    assert sha256_of(PresetFile("x", 1, None, "git:" + "0" * 40)) is None


def test_a_folder_that_cannot_be_used_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError) as caught:
        Store(tmp_path / "file").put_file_list(HANDLE, FILES)
    assert caught.value.folder == tmp_path / "file"


def test_what_is_of_a_process_that_has_ended_is_abandoned(store):
    mine = store.stage("partial", "key")
    assert not is_abandoned(mine, time.time() + 1e9, 1)
    ended = subprocess.Popen(["true"])
    ended.wait()
    its = mine.with_name(mine.name.replace(f"-{os.getpid()}.", f"-{ended.pid}."))
    assert is_abandoned(its, time.time(), 1e9)
    assert is_abandoned(mine.with_name(f"key.{ABANDONED}.0.tmp"), time.time(), 1e9)


def test_what_is_of_another_machine_is_abandoned_once_it_has_not_moved(store):
    theirs = store.stage("partial", "key")
    theirs = theirs.rename(theirs.with_name("key.other-1.0.tmp"))
    assert not is_abandoned(theirs, time.time(), 60)
    os.utime(theirs, (0, 0))
    assert is_abandoned(theirs, time.time(), 60)


def test_notes_are_json_that_a_person_can_read(store):
    store.put_ref(PresetHandle("toy", "a/b"), HANDLE)
    facts = json.loads(ref_path(store.root, PresetHandle("toy", "a/b")).read_text())
    assert facts == {"handle": "toy://a/b", "pinned": "toy://a/b@r1"}
