"""Fetching and transferring: complete and checked, or not at all, whatever a service does."""

import errno
import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vertebra import ByteStream, PresetHandle
from vertebra._cache import leases
from vertebra._cache.layout import blob_path, key_of
from vertebra._cache.store import Store
from vertebra._cache.transfer import download, partial_file, retry, stall
from vertebra._cache.transfer import fetch as fetching
from vertebra._resolve.open import open_folder
from vertebra._system.ownership import ABANDONED
from vertebra.errors import (
    CacheError,
    IntegrityError,
    OfflineError,
    PresetAccessError,
    PresetNotFoundError,
    SourceUnavailableError,
)

LARGE = bytes(range(256)) * 20
SHA256 = hashlib.sha256(LARGE).hexdigest()


def unavailable(**facts):
    return SourceUnavailableError("toy://bert", "HTTP 503", **facts)


def blobs(store):
    return [path for path in (store.root / "blobs").rglob("*") if path.is_file()]


# === What arrives ===


def test_what_arrives_is_kept_by_its_hash_read_only_and_never_asked_for_again(toy, fetch, cache, pinned):
    (path,) = fetch("model.bin")
    assert path == blob_path(cache.root, SHA256)
    assert path.read_bytes() == LARGE
    assert path.stat().st_mode & 0o777 == 0o444
    assert cache.record(pinned, "model.bin").sha256 == SHA256
    toy.asked.clear()
    assert fetch("model.bin") == [path]
    assert toy.reads() == []
    assert cache.partials() == []


@pytest.mark.parametrize("promises", ["sha256", "sha512", "git", "md5", None])
def test_contents_are_compared_with_whatever_the_source_promises(toy, toys, fetch, cache, promises):
    toy.promises = promises
    if promises is not None:
        wrong = LARGE[:-1] + b"?"
        toy.faults = [lambda data, start: toys.answer(wrong, start)] * 2
        with pytest.raises(IntegrityError) as caught:
            fetch("model.bin")
        assert (caught.value.name, toy.faults) == ("model.bin", [])
        assert blobs(cache) == cache.partials() == []
    assert fetch("model.bin")[0].read_bytes() == LARGE


def test_what_was_wrong_once_is_transferred_again(toy, toys, fetch):
    toy.faults = [lambda data, start: toys.answer(bytes(len(data)), start)]
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert toy.reads() == ["model.bin 0", "model.bin 0"]


def test_a_digest_of_the_answer_is_taken_up_if_the_listing_has_none(toy, toys, fetch):
    toy.promises = None
    toy.faults = [lambda data, start: toys.answer(data, start, digest=f"sha256:{'0' * 64}")] * 2
    with pytest.raises(IntegrityError, match="0000"):
        fetch("model.bin")


@pytest.fixture
def answered(toy, toys, monkeypatch):
    """A source whose listing promises nothing, and whose answers say what the whole file hashes to; returns answers."""
    toy.promises, answers = None, []

    def read(handle, file, start=0, stop=None):
        answers.append(start)
        data = toy.presets[handle.path][handle.revision][file.name]
        sent = toy.wrong(data) if toy.wrong else data
        return toys.answer(sent[:stop], start, total=len(data), digest=f"md5:{hashlib.md5(data).hexdigest()}")

    toy.wrong = None
    monkeypatch.setattr(toy, "read", read)
    return answers


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("position", [0, 2_500, -1])
def test_a_digest_of_an_answer_is_compared_however_the_bytes_come(
    toy, fetch, cache, answered, monkeypatch, streams, position
):
    monkeypatch.setattr(download, "RANGE", 1000)
    toy.streams = streams
    toy.wrong = lambda data: data[:position] + bytes([data[position] ^ 1]) + (data[position:][1:])
    with pytest.raises(IntegrityError, match="md5"):
        fetch("model.bin")
    assert blobs(cache) == cache.partials() == []
    toy.wrong = None
    assert fetch("model.bin")[0].read_bytes() == LARGE


@pytest.mark.parametrize("size", [1, 3000, len(LARGE)])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_digest_of_an_answer_is_compared_with_what_was_left_too(fetch, cache, answered, pinned, size, damaged):
    left = cache.root / "partial" / f"{key_of('', str(pinned), 'model.bin')}.{ABANDONED}.0.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes((b"?" * damaged + LARGE[damaged:])[:size])
    assert fetch("model.bin")[0].read_bytes() == LARGE
    begun = min(size, len(LARGE) - 1)  # without an expected digest, at least the last byte must be requested
    assert answered == ([begun, 0] if damaged else [begun])


def test_an_empty_file_is_one(toy, fetch):
    toy.add("bert", {"empty": b""})
    assert fetch("empty")[0].read_bytes() == b""


# === What goes wrong on the way ===


@pytest.mark.parametrize("error", [unavailable(), unavailable(retry_after=0.0), ConnectionResetError("reset")])
def test_what_may_pass_is_tried_again(toy, fetch, error):
    toy.faults = [error] * (retry.MOST_FAILURES - 1)
    assert fetch("model.bin")[0].read_bytes() == LARGE


def test_it_is_given_up_after_some_attempts_without_a_byte(toy, fetch):
    toy.faults = [unavailable()] * 100
    with pytest.raises(SourceUnavailableError):
        fetch("model.bin")
    assert len(toy.reads()) == retry.MOST_FAILURES


def test_a_service_that_asks_for_a_long_break_is_not_waited_for(toy, fetch):
    toy.faults = [unavailable(retry_after=1e9)]
    with pytest.raises(SourceUnavailableError):
        fetch("model.bin")
    assert len(toy.reads()) == 1


@pytest.mark.parametrize(
    "error", [PresetNotFoundError("toy://bert", "gone"), PresetAccessError("toy://bert", "x", "y")]
)
def test_what_will_not_pass_is_not_tried_again(toy, fetch, error):
    toy.faults = [error]
    with pytest.raises(type(error)):
        fetch("model.bin")
    assert len(toy.reads()) == 1


@pytest.mark.parametrize("error", [None, unavailable(), OSError("broken")])
def test_what_breaks_off_is_continued_where_it_broke(toy, toys, fetch, error):
    toy.faults = [lambda data, start: toys.answer(data[:3000], start, error, total=len(data))]
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert toy.reads() == ["model.bin 0", "model.bin 3000"]


def test_bytes_that_arrive_count_as_progress(toy, toys, fetch, monkeypatch):
    monkeypatch.setattr(partial_file, "PROGRESS", 500)
    cuts = range(500, 5000, 500)  # more than would be tried without progress
    toy.faults = [lambda data, start, cut=cut: toys.answer(data[:cut], start) for cut in cuts]
    assert fetch("model.bin")[0].read_bytes() == LARGE


def test_a_few_bytes_at_a_time_are_no_progress(toy, toys, fetch):
    toy.faults = [lambda data, start, cut=cut: toys.answer(data[:cut], start) for cut in range(500, 5000, 500)]
    with pytest.raises(SourceUnavailableError, match="cut short"):
        fetch("model.bin")
    assert len(toy.reads()) == retry.MOST_FAILURES


@pytest.mark.parametrize("size", [download.RANGE, 2_000])
def test_who_sends_too_slowly_is_given_up(toy, toys, fetch, monkeypatch, size):
    monkeypatch.setattr(download, "RANGE", size)
    monkeypatch.setattr(toy, "streams", 2)
    monkeypatch.setattr(toys, "CHUNK", 100)
    monkeypatch.setattr(stall, "SLOWEST", 10**12)
    monkeypatch.setattr(stall, "WINDOW", 0.0)
    with pytest.raises(SourceUnavailableError, match="stalled"):
        fetch("model.bin")
    monkeypatch.setattr(stall, "SLOWEST", 0)
    assert fetch("model.bin")[0].read_bytes() == LARGE


def test_what_is_too_long_is_not_accepted(toy, toys, fetch, cache):
    toy.faults = [lambda data, start: toys.answer(data + b"more", start)] * 2
    with pytest.raises(IntegrityError, match="more than the expected"):
        fetch("model.bin")
    assert blobs(cache) == cache.partials() == []


def test_a_total_that_differs_is_not_accepted(toy, toys, fetch):
    toy.faults = [lambda data, start: toys.answer(data, start, total=7)] * 2
    with pytest.raises(IntegrityError, match="7 bytes were sent"):
        fetch("model.bin")


def test_what_changes_on_the_way_begins_again(toy, toys, fetch):
    toy.faults = [lambda data, start: toys.answer(bytes(3000), start, unavailable(), etag="old")]
    toy.tag = "new"
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert toy.reads() == ["model.bin 0", "model.bin 3000", "model.bin 0"]


def test_a_source_of_whole_files_that_breaks_off_is_not_said_to_change_them(toy, toys, fetch):
    toy.faults = [lambda data, start: toys.answer(data[:2000], 0)] * 40
    with pytest.raises(SourceUnavailableError, match="cannot send it from a later byte"):
        fetch("model.bin")


def test_ranges_that_are_ignored_begin_again(toy, toys, fetch):
    whole = [lambda data, start: toys.answer(data[:2000], 0, unavailable()), lambda data, start: toys.answer(data, 0)]
    toy.faults = [*whole, lambda data, start: toys.answer(data, 0)]
    assert fetch("model.bin")[0].read_bytes() == LARGE


# === Several parts ===


@pytest.fixture
def pieces(toy, monkeypatch):
    """Lets transfers of files this small run in parts."""
    monkeypatch.setattr(download, "RANGE", 700)
    toy.streams = 3
    return toy


def test_parts_are_put_together_in_order(pieces, fetch):
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert len(pieces.reads()) == -(-len(LARGE) // 700)


@pytest.mark.parametrize(("longest", "sizes"), [(10.0, [200] * 4 + [400, 800, 800, 800, 800, 720]), (0.0, [200] * 26)])
def test_ranges_grow_unless_the_connection_is_slow(toy, toys, fetch, monkeypatch, longest, sizes):
    monkeypatch.setattr(download, "FIRST_RANGE", 200)
    monkeypatch.setattr(download, "RANGE", 800)
    monkeypatch.setattr(download, "_LONGEST", longest)
    toy.streams, asked, read = 2, {}, toy.read

    def measured(handle, file, start=0, stop=None):
        asked[start] = stop - start
        return read(handle, file, start, stop)

    monkeypatch.setattr(toy, "read", measured)
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert [asked[start] for start in sorted(asked)] == [*sizes[:-1], len(LARGE) - sum(sizes[:-1])]


@pytest.fixture
def advanced(monkeypatch):
    """The numbers of bytes that the progress is told."""
    told = []
    advance = "vertebra._cache.transfer.progress.Progress.advance"
    monkeypatch.setattr(advance, lambda self, name, count: told.append(count))
    return told


@pytest.mark.parametrize("streams", [1, 3])
def test_progress_counts_bytes_as_they_arrive(pieces, toys, fetch, advanced, monkeypatch, streams):
    monkeypatch.setattr(toys, "CHUNK", 100)
    pieces.streams = streams
    fetch("model.bin")
    assert max(advanced) == 100
    assert sum(advanced) == len(LARGE)


@pytest.mark.parametrize("streams", [1, 3])
def test_discarded_bytes_do_not_count(pieces, toys, fetch, advanced, streams):
    pieces.streams = streams
    pieces.faults = [lambda data, start: toys.answer(bytes(len(data)), start)]
    fetch("model.bin")
    assert sum(advanced) == len(LARGE)
    assert min(advanced) < 0


def test_an_interruption_keeps_the_bytes_that_continue_the_file(pieces, toys, fetch, cache, monkeypatch):
    waiting = threading.Event()

    def stalls(data, start):
        def chunks():
            yield data[start : start + 300]
            waiting.set()
            while True:
                yield b""

        return toys.ByteStream(chunks(), start)

    read = pieces.read

    def interrupted(*_, **__):
        waiting.wait(5)
        raise KeyboardInterrupt

    def second_stalls(handle, file, start=0, stop=None):
        return stalls(LARGE, start) if start == 700 else read(handle, file, start, stop)

    monkeypatch.setattr(pieces, "read", second_stalls)
    monkeypatch.setattr(fetching, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("model.bin")
    monkeypatch.undo()
    (left,) = cache.partials()
    assert left.read_bytes() == LARGE[:1000]
    monkeypatch.setattr(pieces, "streams", 1)
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert pieces.reads()[-1] == "model.bin 1000"


def test_a_source_without_ranges_is_read_in_one_stream(pieces, fetch):
    pieces.supports_ranges = False
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert pieces.reads() == ["model.bin 0"]


def test_a_part_that_breaks_off_is_continued(pieces, toys, fetch):
    pieces.faults = [lambda data, start: toys.answer(data[: start + 300], start, unavailable()), unavailable()]
    assert fetch("model.bin")[0].read_bytes() == LARGE


def test_parts_of_a_source_without_ranges_come_in_one(pieces, toys, fetch):
    pieces.faults = [lambda data, start: toys.answer(data, 0)] * 12
    assert fetch("model.bin")[0].read_bytes() == LARGE


def test_parts_of_different_contents_are_not_mixed(pieces, toys, fetch):
    pieces.tag = "new"
    pieces.faults = [lambda data, start: toys.answer(bytes(len(data)), start, etag="old")]
    assert fetch("model.bin")[0].read_bytes() == LARGE


def test_two_who_fetch_the_same_content_at_once_both_note_it(toy, cache):
    toy.add("twin", toy.presets["bert"]["r1"])
    handles = [PresetHandle("toy", name, "r1") for name in ("bert", "twin")]
    files = {handle: toy.resolve_snapshot(handle).files for handle in handles}

    def fetch_all(handle):
        return fetching.fetch_files(cache, toy, handle, files[handle], False)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fetch_all, handles))
    for handle in handles:
        assert {file.name for file in files[handle] if cache.record(handle, file.name)} == {"config.json", "model.bin"}


def test_what_a_tier_has_is_not_noted_elsewhere(toy, fetch, cache, tmp_path, pinned):
    fetch()
    own = Store(tmp_path / "own", [cache.root])
    other = PresetHandle("toy", "twin", "r1")
    toy.add("twin", toy.presets["bert"]["r1"])
    assert fetching.fetch_files(own, toy, other, toy.resolve_snapshot(other).files, True)
    assert not (own.root / "presets").exists()


def test_an_error_in_one_part_stops_the_others(pieces, toys, fetch, monkeypatch):
    started, ended = threading.Event(), []

    def endless(data, start):
        def chunks():
            started.set()
            for _ in range(10_000):
                time.sleep(0.01)
                yield b""
            ended.append(start)

        return ByteStream(chunks(), start, len(data))

    def refused(data, start):
        started.wait(10)
        raise PresetAccessError("toy://bert", "HTTP 403", "Log in")

    pieces.faults = [refused, endless, endless]
    with pytest.raises(PresetAccessError):
        fetch("model.bin")
    assert not ended


# === Partial downloads, and files of other programs ===


@pytest.mark.parametrize("tag", [ABANDONED, "machine-99"])
def test_what_was_left_is_continued(toy, fetch, cache, tag, pinned):
    toy.faults = [lambda data, start: iter(())]
    file = toy.resolve_snapshot(pinned).files[1]
    session = fetching.FetchSession(cache, toy, pinned, None, None)
    left = cache.stage("partial", session.key(file))
    left.write_bytes(LARGE[:2000])
    left = left.rename(left.with_name(f"{session.key(file)}.{tag}.0.tmp"))
    os.utime(left, (0, 0))
    toy.faults = []
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert toy.reads() == ["model.bin 2000"]
    assert cache.partials() == []


def test_there_is_never_more_than_one_of_what_was_left(toy, toys, fetch, cache, pinned):
    session = fetching.FetchSession(cache, toy, pinned, None, None)
    key = session.key(toy.resolve_snapshot(pinned).files[1])
    for number in range(3):
        stage = cache.stage("partial", key)
        stage.write_bytes(LARGE[:2000])
        stage.rename(stage.with_name(f"{key}.{ABANDONED}.{number}.tmp"))
    toy.faults = [lambda data, start: toys.answer(data[:3000], start, unavailable())] + [unavailable()] * 10
    with pytest.raises(SourceUnavailableError):
        fetch("model.bin")
    assert [path.read_bytes() for path in cache.partials()] == [LARGE[:3000]]


@pytest.mark.parametrize("how", ["link", "folder", "not readable"])
def test_what_was_left_and_is_no_file_of_ours_is_not_gone_on_from(toy, fetch, cache, pinned, tmp_path, how):
    key = fetching.FetchSession(cache, toy, pinned, None, None).key(toy.resolve_snapshot(pinned).files[1])
    left = cache.stage("partial", f"{key}.{ABANDONED}.0")
    canary = tmp_path / "canary"
    canary.write_bytes(b"unharmed")
    if how == "not readable":
        left.chmod(0)
    else:
        left.unlink()
        left.mkdir() if how == "folder" else left.symlink_to(canary)
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert canary.read_bytes() == b"unharmed"


def test_what_was_left_damaged_is_not_kept(toy, fetch, cache, pinned):
    file = toy.resolve_snapshot(pinned).files[1]
    left = (
        cache.root / "partial" / f"{fetching.FetchSession(cache, toy, pinned, None, None).key(file)}.{ABANDONED}.0.tmp"
    )
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(2000))
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert toy.reads() == ["model.bin 2000", "model.bin 0"]


def test_a_failed_transfer_leaves_what_has_arrived_for_the_next(toy, toys, fetch, cache):
    toy.faults = [lambda data, start: toys.answer(data[:3000], start, unavailable())] + [unavailable()] * 10
    with pytest.raises(SourceUnavailableError):
        fetch("model.bin")
    toy.faults.clear()
    toy.asked.clear()
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert toy.reads() == ["model.bin 3000"]


def test_what_another_program_has_is_copied_if_it_is_right(toy, fetch, tmp_path):
    toy.theirs["model.bin"] = tmp_path / "theirs"
    toy.theirs["model.bin"].write_bytes(LARGE)
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert toy.reads() == []


@pytest.mark.parametrize("content", [b"", LARGE[:-1], LARGE[:-1] + b"?", None])
def test_what_another_program_has_is_not_taken_if_it_is_wrong(toy, fetch, cache, tmp_path, content):
    toy.theirs["model.bin"] = tmp_path / "theirs"
    if content is not None:
        toy.theirs["model.bin"].write_bytes(content)
    assert fetch("model.bin")[0].read_bytes() == LARGE
    assert cache.partials() == []


@pytest.mark.parametrize("how", ["truncate", "folder", "link", "delete"])
def test_a_damaged_content_is_fetched_again(toy, fetch, how, tmp_path):
    (path,) = fetch("model.bin")
    path.unlink()
    if how == "truncate":
        path.write_bytes(LARGE[:-1])
    elif how == "folder":
        path.mkdir()
        (path / "x").touch()
    elif how == "link":
        (tmp_path / "other-cache").write_bytes(LARGE)
        path.symlink_to(tmp_path / "other-cache")
    assert fetch("model.bin") == [path]
    assert path.is_file()
    assert not path.is_symlink()
    assert path.read_bytes() == LARGE


# === Offline, and sources that cannot be reached ===


def test_offline_asks_nobody_and_names_what_is_missing(toy, fetch, configure):
    fetch("config.json")
    with pytest.raises(OfflineError) as caught:
        fetch("config.json", "model.bin", offline=True)
    assert caught.value.missing == ["model.bin"]
    assert fetch("config.json", offline=True)
    assert toy.reads() == ["config.json 0"]
    configure(VERTEBRA_OFFLINE="1")
    toy.asked.clear()
    with pytest.raises(OfflineError, match="its file list is not in the cache"):
        open_folder("toy://bert")
    assert toy.asked == []


def test_offline_what_another_program_has_is_taken_up(toy, fetch, tmp_path):
    toy.theirs["model.bin"] = tmp_path / "theirs"
    toy.theirs["model.bin"].write_bytes(LARGE)
    assert fetch("model.bin", offline=True)[0].read_bytes() == LARGE
    with pytest.raises(OfflineError) as caught:
        fetch("config.json", "model.bin", offline=True)
    assert caught.value.missing == ["config.json"]
    assert toy.reads() == []


def test_offline_an_unpinned_handle_means_what_it_meant(toy, full, configure):
    configure(VERTEBRA_OFFLINE="1")
    folder = open_folder("toy://bert")
    assert folder.handle.revision == "r1"
    assert folder.fetch("model.bin").read_bytes() == LARGE
    assert toy.asked == []


def test_a_pinned_preset_that_is_here_asks_nobody(toy, full):
    assert open_folder("toy://bert@r1").fetch("model.bin").read_bytes() == LARGE
    assert toy.asked == []


def test_a_source_that_cannot_be_reached_means_what_it_meant_with_a_warning(toy, full, caplog):
    toy.add("bert", {"config.json": b"{}"}, "r2")
    toy.unreachable = unavailable()
    with caplog.at_level(logging.WARNING, "vertebra"):
        assert open_folder("toy://bert").handle.revision == "r1"
    assert "toy://bert@r1" in caplog.text
    toy.add("other", {})
    with pytest.raises(SourceUnavailableError):
        open_folder("toy://other")
    toy.unreachable = None
    assert open_folder("toy://bert").handle.revision == "r2"


def test_a_look_up_that_fails_once_is_tried_again(toy, monkeypatch):
    toy.add("bert", {"config.json": b"{}"}, "r1")
    asked, resolve_snapshot = [], toy.resolve_snapshot

    def failing_once(handle):
        asked.append(handle)
        if len(asked) == 1:
            raise unavailable()
        return resolve_snapshot(handle)

    monkeypatch.setattr(toy, "resolve_snapshot", failing_once)
    assert open_folder("toy://bert").handle.revision == "r1"
    assert len(asked) == 2


def test_what_another_process_left_is_not_trusted_where_nothing_can_be_checked(toy, fetch, cache, pinned):
    """The other process's disk may have lost its last writes, and there is no digest to detect it."""
    toy.promises = None
    stage = cache.stage("partial", key_of("", str(pinned), "model.bin"))
    stage.write_bytes(bytes(2_000))
    stage.rename(stage.with_name(f"{stage.name.split('.')[0]}.{ABANDONED}.0.tmp"))
    (path,) = fetch("model.bin")
    assert path.read_bytes() == LARGE
    assert toy.reads() == ["model.bin 2000", "model.bin 0"]


@pytest.mark.parametrize("digest", ["sha256:../../../canary", "sha256:/etc/hostname", "sha256:" + "g" * 64])
def test_a_promise_that_is_no_hash_leads_nowhere(toy, fetch, tmp_path, monkeypatch, digest):
    (tmp_path / "canary").write_bytes(b'{"a": 1}')
    monkeypatch.setattr(toy, "_digest", lambda data: digest)
    with pytest.raises(ValueError, match=r"digest 'sha256:.*expected sha256: and 64"):
        fetch("config.json")


# === The cache's folder ===


def test_tiers_are_read_first_and_never_written(toy, fetch, cache, tmp_path):
    fetch("config.json")
    cache.root.rename(tmp_path / "tier")
    both = Store(tmp_path / "cache", [tmp_path / "tier"])
    toy.asked.clear()
    small, large = fetch(store=both)
    assert small.is_relative_to(tmp_path / "tier")
    assert large.is_relative_to(tmp_path / "cache")
    assert toy.reads() == ["model.bin 0"]
    assert len(blobs(Store(tmp_path / "tier"))) == 1


@pytest.fixture
def refuse(monkeypatch):
    """Returns a function that lets the file system refuse to make files."""

    def refuse_with(number):
        real = os.open

        def refusing(path, flags, *rest, **more):
            if flags & os.O_CREAT:
                raise OSError(number, os.strerror(number), str(path))
            return real(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", refusing)

    return refuse_with


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_cache_that_takes_nothing_serves_what_it_has(toy, fetch, refuse, number):
    (path,) = fetch("config.json")
    refuse(number)
    assert fetch("config.json") == [path]
    with pytest.raises(CacheError):
        fetch("model.bin")


def test_space_is_looked_at_before_the_transfer(toy, fetch, cache, monkeypatch):
    usage = fetching.shutil.disk_usage("/")
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage._replace(free=len(LARGE) - 1))
    with pytest.raises(CacheError, match="bytes free"):
        fetch("model.bin")
    assert toy.reads() == []
    assert cache.partials() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_beside_a_transfer_is_told(toy, fetch, cache, monkeypatch, number):
    monkeypatch.setattr(download, "RANGE", 1000)
    toy.streams, times = 4, iter(range(100))

    def sync(descriptor):
        if next(times) == 2:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(partial_file, "_sync", sync)
    with pytest.raises(CacheError):
        fetch("model.bin")
    assert blobs(cache) == cache.partials() == []
    assert fetch("model.bin")[0].read_bytes() == LARGE


# === Many at once ===


def test_threads_transfer_once(toy, fetch):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch("model.bin")[0], range(8)))
    assert len(set(paths)) == 1
    assert toy.reads() == ["model.bin 0"]


def test_where_locks_do_not_work_the_work_is_done_twice(toy, fetch, monkeypatch, cache):
    monkeypatch.setattr("filelock.FileLock.acquire", lambda *_, **__: (_ for _ in ()).throw(NotImplementedError))
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch("model.bin")[0], range(4)))
    assert {path.read_bytes() for path in paths} == {LARGE}
    assert cache.partials() == []


def test_whoever_does_not_move_is_not_waited_for(toy, fetch, cache, pinned, monkeypatch, caplog):
    from filelock import FileLock

    monkeypatch.setattr(leases, "_POLL", 0.01)
    monkeypatch.setattr(leases, "LEASE", 0.05)
    key = fetching.FetchSession(cache, toy, pinned, None, None).key(toy.resolve_snapshot(pinned).files[1])
    (cache.root / "locks").mkdir(parents=True)
    with FileLock(cache.root / "locks" / f"{key}.lock"), caplog.at_level(logging.WARNING, "vertebra"):
        (path,) = fetch("model.bin")
    assert path.read_bytes() == LARGE
    assert "has written nothing" in caplog.text


def test_an_interruption_does_not_wait_for_whoever_is_at_work(toy, fetch, cache, pinned, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr(leases, "_POLL", 0.01)
    monkeypatch.setattr(fetching, "wait", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    key = fetching.FetchSession(cache, toy, pinned, None, None).key(toy.resolve_snapshot(pinned).files[1])
    (cache.root / "locks").mkdir(parents=True)
    with FileLock(cache.root / "locks" / f"{key}.lock"), pytest.raises(KeyboardInterrupt):
        fetch("model.bin")
    assert toy.reads() == []


_CHILD = """
import importlib.util, sys, types, hashlib, vertebra
spec = importlib.util.spec_from_file_location("toy_remote", sys.argv[1])
toys = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toys)
source = toys.ToyRemote(log=sys.argv[2])
source.add("bert", {"model.bin": bytes(range(256)) * 20})
module = types.ModuleType("toy_plugin")
module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
vertebra.add_plugin(module, "toys")
from vertebra._resolve.open import open_folder
print(hashlib.sha256(open_folder("toy://bert").fetch("model.bin").read_bytes()).hexdigest())
"""


def test_processes_transfer_once(toys, tmp_path):
    log = tmp_path / "log"
    environment = os.environ | {"VERTEBRA_CACHE": str(tmp_path / "cache"), "VERTEBRA_BLOCK": "*"}
    command = [sys.executable, "-c", _CHILD, toys.__file__, str(log)]
    children = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [child.communicate(timeout=60)[0].strip() for child in children] == [SHA256] * 4
    assert log.read_text() == "model.bin\n"


def test_an_interruption_stops_all_and_leaves_what_has_arrived(toy, toys, fetch, cache, monkeypatch):
    started = threading.Event()

    def endless(data, start):
        def chunks():
            yield data[:1000]
            started.set()
            while True:
                yield b""

        return toys.ByteStream(chunks(), 0)

    toy.faults = [endless]

    def interrupted(*_, **__):
        started.wait(5)
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("model.bin")
    monkeypatch.undo()
    (left,) = cache.partials()
    assert ABANDONED in left.name
    assert left.stat().st_size == 1000
    assert blobs(cache) == []
