"""System errors other than in writing: the preset is fetched nevertheless, or a typed error names the cause."""

import errno
import shutil
from pathlib import Path

import filelock
import pytest

from vertebra._cache.layout import key_of, sha256_of
from vertebra._cache.store import Store
from vertebra._system.ownership import ABANDONED
from vertebra.errors import CacheError


@pytest.fixture
def failing(monkeypatch):
    """Returns a function that makes calls of a function fail, all or those with some arguments."""

    def let_fail(owner, name, when=lambda *_: True):
        whole = getattr(owner, name)

        def fail(*arguments, **named):
            if when(*arguments):
                raise OSError(errno.EIO, "Input/output error")
            return whole(*arguments, **named)

        monkeypatch.setattr(owner, name, fail)

    return let_fail


@pytest.fixture
def begun(toy, cache, pinned):
    """A partial download of the large file by another process."""
    promised = next(sha256_of(file) for file in toy.resolve_snapshot(pinned).files if file.name == "model.bin")
    path = cache.root / "partial" / f"{key_of(promised)}.{ABANDONED}.0.tmp"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(range(256)))
    return path


def test_a_folder_that_cannot_be_listed(fetch, failing):
    failing(Store, "partials", lambda store, key="": key != "note")
    with pytest.raises(CacheError, match="Input/output error"):
        fetch()


def test_a_disk_that_does_not_say_how_much_is_free(fetch, failing):
    failing(shutil, "disk_usage")
    with pytest.raises(CacheError, match="Input/output error"):
        fetch()


@pytest.mark.parametrize("call", ["rename", "unlink"])
def test_what_another_process_left_cannot_be_moved_or_removed(fetch, failing, begun, call):
    failing(Path, call, lambda path, *_: path == begun)
    assert len(fetch()) == 2


def test_what_another_process_left_cannot_be_read(fetch, failing, begun):
    failing(Path, "open", lambda path, *_: begun.stem.partition(".")[0] in path.name)
    with pytest.raises(CacheError, match="Input/output error"):
        fetch()


def test_a_name_that_cannot_be_removed_when_the_content_is_in_its_place(fetch, failing):
    failing(Path, "unlink", lambda path: path.parent.name == "partial" and not path.name.startswith("note"))
    assert len(fetch()) == 2


def test_a_lock_that_cannot_be_released(fetch, failing):
    failing(filelock.FileLock, "release")
    assert len(fetch()) == 2
