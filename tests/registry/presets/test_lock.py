"""Locking presets, comparing their revisions with the lockfile, and verifying local files without a network."""

import pytest

from vertebra import PresetHandle
from vertebra._cache.layout import blob_path
from vertebra._presets.lock import compare_lock, lock_presets, verify_lock
from vertebra._resolve.lockfile import read_lockfile
from vertebra._resolve.open import open_folder
from vertebra._system.file_identity import identity_at
from vertebra.errors import LockError, PresetChangedError, PresetNotFoundError, SourceUnavailableError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vertebra.lock"


@pytest.fixture
def lock(toy, path):
    """Returns a function that locks presets and returns the state of each by its handle."""

    def lock_texts(*texts, update=False, remove=False):
        return {item.requested: item.state for item in lock_presets(texts, path, update, remove)}

    return lock_texts


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "preset"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights").write_bytes(b"123")
    return folder


def states(path):
    return {item.requested: item.state for item in compare_lock(path)}


def verdict(path):
    (one,) = verify_lock(path)[0]
    return one


def test_what_the_source_promises_is_not_fetched_except_the_config(toy, lock, path):
    assert lock("toy://bert", "toy://bert") == {"toy://bert": "added"}
    assert toy.reads() == ["config.json 0"]
    assert read_lockfile(path).presets["toy://bert"].handle == PresetHandle("toy", "bert", "r1")
    assert read_lockfile(path).plugins.keys() == {"vertebra", "toys"}


def test_a_file_of_a_locked_folder_that_is_replaced_after_it_was_hashed_is_noticed(lock, path, folder, configure):
    lock(str(folder))
    configure(VERTEBRA_LOCKFILE=str(path), VERTEBRA_LOCKED="1")
    opened = open_folder(folder)
    local = opened.fetch("weights")
    opened.check_read("weights", identity_at(local))
    (folder / "new").write_bytes(b"321")
    (folder / "new").replace(local)
    assert opened.changed_file() == "weights"
    with pytest.raises(PresetChangedError):
        opened.check_read("weights", identity_at(local))


def test_an_entry_that_another_process_writes_meanwhile_is_kept(toy, lock, path, folder, monkeypatch):
    resolve = toy.resolve_snapshot

    def resolve_slowly(handle):
        lock(str(folder))
        return resolve(handle)

    monkeypatch.setattr(toy, "resolve_snapshot", resolve_slowly)
    assert lock("toy://bert") == {"toy://bert": "added"}
    assert read_lockfile(path).presets.keys() == {"toy://bert", str(folder)}


@pytest.mark.parametrize("promises", ["git", "md5", None])
def test_what_the_source_does_not_promise_is_fetched_and_hashed(toy, lock, path, promises):
    lock("toy://bert")
    expected = read_lockfile(path).presets
    path.unlink()
    toy.promises = promises
    toy.asked.clear()
    lock("toy://bert")
    assert toy.reads() == ["model.bin 0"]  # the config was fetched before
    assert read_lockfile(path).presets == expected


def test_what_is_locked_stays_until_it_is_to_be_updated(toy, lock, path):
    lock("toy://bert")
    before = path.read_bytes()
    toy.add("bert", {"config.json": b"{}"}, "r2")
    assert lock("toy://bert") == {"toy://bert": "kept"}
    assert path.read_bytes() == before
    assert states(path) == {"toy://bert": "moved"}
    assert path.read_bytes() == before
    assert lock("toy://bert", update=True) == {"toy://bert": "updated"}
    assert states(path) == {"toy://bert": "unchanged"}
    assert lock(update=True) == {"toy://bert": "unchanged"}


def test_others_stay_and_any_can_be_removed(toy, lock, path):
    toy.add("other", {"config.json": b"{}"})
    lock("toy://bert")
    lock("toy://other")
    assert lock("toy://bert", remove=True) == {"toy://bert": "removed"}
    assert list(read_lockfile(path).presets) == ["toy://other"]
    with pytest.raises(LockError):
        lock("toy://bert", remove=True)


def test_nothing_is_written_if_one_cannot_be_locked(toy, lock, path):
    with pytest.raises(PresetNotFoundError):
        lock("toy://bert", "toy://nothing")
    assert not path.exists()


def test_without_a_lockfile_there_is_nothing_to_compare(lock, path):
    for ask in (lambda: list(compare_lock(path)), lambda: verify_lock(path), lambda: lock(update=True)):
        with pytest.raises(LockError):
            ask()


def test_a_folder_that_changed_is_found_and_can_be_locked_anew(lock, path, folder):
    lock(str(folder))
    assert states(path) == {str(folder): "unchanged"}
    (folder / "config.json").write_text("[]")
    assert states(path) == {str(folder): "changed"}
    assert lock(str(folder), update=True) == {str(folder): "updated"}
    assert states(path) == {str(folder): "unchanged"}


# === Verified, without a network ===


@pytest.fixture
def alone(toy, lock, path):
    """The locked toy preset, whose source then does not answer."""
    lock("toy://bert")
    toy.unreachable = SourceUnavailableError("toy://bert", "no network")
    toy.asked.clear()


def test_what_is_missing_is_listed(toy, alone, path, cache):
    assert verdict(path).missing == ["model.bin"]
    open_folder("toy://bert@r1").fetch("config.json")
    toy.asked.clear()
    found = verdict(path)
    assert (found.right, found.missing, found.different) == (["config.json"], ["model.bin"], {})
    assert toy.asked == []


@pytest.mark.parametrize("how", ["flipped", "truncated", "folder"])
def test_what_is_here_is_hashed(toy, alone, path, cache, how):
    blob = open_folder("toy://bert@r1").fetch("model.bin")
    data = blob.read_bytes()
    blob.unlink()
    if how == "folder":
        blob.mkdir()
    else:
        blob.write_bytes(data[:-1] if how == "truncated" else b"?" + data[1:])
    assert verdict(path).different.keys() == {"model.bin"}


def test_a_cache_that_has_another_content_under_the_handle_is_found(toy, alone, path, cache):
    from vertebra._cache.manifest import Record

    cache.put_record(PresetHandle("toy", "bert", "r1"), Record("model.bin", 3, "0" * 64))
    assert "other bytes" in verdict(path).different["model.bin"]


def test_tiers_are_looked_into(toy, alone, path, cache, tmp_path, configure):
    open_folder("toy://bert@r1").fetch_all(["config.json", "model.bin"])
    cache.root.rename(tmp_path / "tier")
    configure(VERTEBRA_CACHE_TIERS=str(tmp_path / "tier"))
    assert len(verdict(path).right) == 2
    assert not blob_path(cache.root, "0" * 64).parents[1].exists()


def test_a_folder_is_hashed_where_it_stands(lock, path, folder):
    lock(str(folder))
    assert verdict(path).right == ["config.json", "weights"]
    (folder / "weights").write_bytes(b"124")
    assert verdict(path).different.keys() == {"weights"}
    (folder / "weights").unlink()
    assert "missing" in verdict(path).different["weights"]
    folder.rename(folder.with_name("other"))
    assert verdict(path).missing == ["config.json", "weights"]


def test_plugins_of_another_version_are_named(lock, path):
    lock("toy://bert")
    text = path.read_text()
    path.write_text(text.replace('"toys": ""', '"toys": "9"').replace('"vertebra": "', '"gone": "1", "vertebra": "'))
    assert verify_lock(path)[1] == {"toys": ("9", ""), "gone": ("1", None)}


def test_a_lockfile_that_somebody_has_changed_is_noticed_where_the_source_promises_hashes(toy, lock, path):
    lock("toy://bert")
    (file,) = [file for file in read_lockfile(path).presets["toy://bert"].files if file.name == "model.bin"]
    path.write_text(path.read_text().replace(file.digest.removeprefix("sha256:"), "0" * 64))
    assert states(path) == {"toy://bert": "changed"}
    assert toy.reads() == ["config.json 0"]


def test_a_folder_that_is_gone_is_missing_whatever_the_cache_has(toy, lock, path, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder / "weights").write_bytes(toy.presets["bert"]["r1"]["model.bin"])
    open_folder("toy://bert").fetch("model.bin")
    lock("./preset")
    assert sorted(verdict(path).right) == ["config.json", "weights"]
    folder.rename(folder.parent / "other")
    assert (verdict(path).right, sorted(verdict(path).missing)) == ([], ["config.json", "weights"])


def test_the_same_bytes_at_another_place_have_not_moved(toy, lock, path, monkeypatch):
    lock("toy://bert")
    toy.add("mirrored", toy.presets["bert"]["r1"], "m1")
    monkeypatch.setattr("vertebra._resolve.candidates._rewrite", lambda handle: [PresetHandle("toy", "mirrored")])
    assert states(path) == {"toy://bert": "unchanged"}
    toy.add("mirrored", {"config.json": b"{}"}, "m2")
    assert states(path) == {"toy://bert": "moved"}


def test_what_a_policy_refuses_to_load_can_be_verified(toy, lock, path, monkeypatch):
    lock("toy://bert")
    monkeypatch.setattr("vertebra._resolve.candidates.ask_policies", None)
    assert verdict(path).missing == ["model.bin"]


def test_what_is_gone_does_not_keep_from_the_others(toy, lock, path):
    toy.add("other", {"config.json": b"{}"})
    lock("toy://bert", "toy://other")
    del toy.presets["bert"]
    toy.add("other", {"config.json": b"{}", "more": b""}, "r2")
    assert states(path) == {"toy://bert": "gone", "toy://other": "moved"}
    assert lock(update=True) == {"toy://bert": "gone", "toy://other": "updated"}
    assert read_lockfile(path).presets["toy://bert"].handle.revision == "r1"


@pytest.mark.parametrize("why", ["down", "offline"])
def test_without_an_answer_nothing_is_said_to_be_unchanged(toy, lock, path, configure, why):
    lock("toy://bert")
    before = path.read_bytes()
    if why == "down":
        toy.unreachable = SourceUnavailableError("toy://bert", "HTTP 503", 1e9)
    else:
        configure(VERTEBRA_OFFLINE="1")
    assert states(path) == {"toy://bert": "unknown"}
    assert lock(update=True) == {"toy://bert": "unknown"}
    assert path.read_bytes() == before
    toy.unreachable = None
    configure(VERTEBRA_OFFLINE="0")
    assert states(path) == {"toy://bert": "unchanged"}


def test_another_place_is_no_answer_while_the_first_is_down(toy, lock, path, monkeypatch):
    lock("toy://bert")
    toy.add("hub", {"config.json": b"{}", "more": b""})
    resolve_snapshot = toy.resolve_snapshot

    def down(handle):
        if handle.path == "bert":
            raise SourceUnavailableError(handle, "HTTP 503", 1e9)
        return resolve_snapshot(handle)

    monkeypatch.setattr(toy, "resolve_snapshot", down)
    monkeypatch.setattr("vertebra._cache.cached_source.CachedSource._last", lambda *_: None)
    monkeypatch.setattr("vertebra._resolve.candidates._rewrite", lambda handle: [handle, PresetHandle("toy", "hub")])
    assert states(path) == {"toy://bert": "unknown"}
