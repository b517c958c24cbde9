"""Bundles: complete presets in a folder, used as a cache tier or imported on a machine without a network."""

import json

import pytest

from vertebra._presets import bundle as bundling
from vertebra._presets.bundle import read_bundle, write_bundle
from vertebra._presets.lock import lock_presets
from vertebra._resolve.open import open_folder
from vertebra._system import atomic_save
from vertebra.errors import IntegrityError, OfflineError, PresetNotFoundError, PresetSaveError, SourceUnavailableError

LARGE = bytes(range(256)) * 20


@pytest.fixture
def bundle(toy, tmp_path):
    """A bundle of the toy preset."""
    write_bundle(["toy://bert"], tmp_path / "bundle")
    toy.asked.clear()
    return tmp_path / "bundle"


@pytest.fixture
def offline(toy, bundle, configure, tmp_path):
    """Another machine without a network, to which the bundle was carried."""
    toy.unreachable = SourceUnavailableError("toy://bert", "no network")
    configure(VERTEBRA_CACHE=str(tmp_path / "another"), VERTEBRA_OFFLINE="1")
    return tmp_path / "another"


def forget(monkeypatch):
    monkeypatch.setattr("vertebra._cache.cached_source._listed", {})


def test_it_is_a_tier(toy, bundle, offline, configure, monkeypatch):
    forget(monkeypatch)
    with pytest.raises(OfflineError):
        open_folder("toy://bert")
    configure(VERTEBRA_CACHE_TIERS=str(bundle))
    folder = open_folder("toy://bert")
    assert str(folder.handle) == "toy://bert@r1"
    assert folder.fetch("model.bin").is_relative_to(bundle)
    assert toy.asked == []
    assert not offline.exists()


@pytest.mark.parametrize("presets", [["toy://bert"], ["toy://bert@r1"], []])
def test_it_is_imported(toy, bundle, offline, monkeypatch, presets):
    forget(monkeypatch)
    (done,) = read_bundle(presets, bundle)
    assert (str(done.handle), done.files, done.size) == ("toy://bert@r1", 2, len(LARGE) + 8)
    folder = open_folder("toy://bert")
    assert folder.fetch("model.bin").is_relative_to(offline)
    assert folder.fetch("model.bin").read_bytes() == LARGE
    assert toy.asked == []
    assert read_bundle(presets, bundle) == [done]


def test_others_of_this_machine_can_read_it(bundle):
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in files)
    assert {path.name for path in bundle.iterdir()} == {"blobs", "presets", "refs", "bundle.json"}
    assert json.loads((bundle / "bundle.json").read_text())["presets"] == {"toy://bert": "toy://bert@r1"}


def test_it_holds_these_presets_and_no_others(toy, tmp_path, bundle):
    toy.add("other", {"config.json": b"{}"})
    write_bundle(["toy://other@r1"], bundle, replace=True)
    assert [path.read_bytes() for path in (bundle / "blobs").rglob("*") if path.is_file()] == [b"{}"]
    assert not (bundle / "refs").exists()


def test_no_preset_of_a_bundle_is_lost_unasked(toy, bundle, digest):
    before = digest(bundle)
    toy.add("other", {"config.json": b"{}"})
    with pytest.raises(PresetSaveError, match="other presets: toy://bert"):
        write_bundle(["toy://other"], bundle)
    assert digest(bundle) == before
    assert len(write_bundle(["toy://other", "toy://bert"], bundle)) == 2
    assert len(write_bundle(["toy://other", "toy://bert"], bundle)) == 2


def test_what_a_user_has_put_into_a_bundle_stays(toy, bundle, digest):
    (bundle / "mine.txt").write_text("precious")
    before = digest(bundle)
    with pytest.raises(PresetSaveError, match=r"mine\.txt"):
        write_bundle(["toy://bert"], bundle, replace=True)
    assert digest(bundle) == before


def test_what_is_bundled_as_locked_is_what_its_text_means(toy, tmp_path, configure):
    lock_presets(["toy://bert"], tmp_path / "vertebra.lock", update=False)
    toy.add("bert", {"config.json": b"{}"}, "r2")
    write_bundle(["toy://bert"], tmp_path / "locked", locked=True)
    configure(VERTEBRA_CACHE=str(tmp_path / "new"), VERTEBRA_CACHE_TIERS=str(tmp_path / "locked"), VERTEBRA_OFFLINE="1")
    assert open_folder("toy://bert").fetch("model.bin").read_bytes() == LARGE


def test_a_damaged_content_of_the_cache_is_not_bundled(toy, tmp_path, cache):
    path = open_folder("toy://bert").fetch("model.bin")
    path.chmod(0o644)
    path.write_bytes(LARGE[::-1])
    with pytest.raises(IntegrityError):
        write_bundle(["toy://bert"], tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    assert [path.name for path in tmp_path.iterdir() if "bundle" in path.name] == []


@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_a_damaged_bundle_is_not_imported(bundle, offline, monkeypatch, how):
    blob = max((path for path in (bundle / "blobs").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    blob.chmod(0o644)
    blob.write_bytes(LARGE[::-1]) if how == "flipped" else blob.unlink()
    with pytest.raises(IntegrityError if how == "flipped" else PresetNotFoundError):
        read_bundle([], bundle)
    forget(monkeypatch)
    with pytest.raises(OfflineError):
        open_folder("toy://bert").fetch("model.bin")


def test_what_it_does_not_have_is_named(bundle, offline, tmp_path):
    with pytest.raises(PresetNotFoundError, match="toy://bert"):
        read_bundle(["toy://bart"], bundle)
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(PresetNotFoundError, match="Create a bundle with: vertebra bundle"):
            read_bundle([], folder)


def test_what_is_read_where_it_stands_is_refused(toy, tmp_path):
    (tmp_path / "preset").mkdir()
    with pytest.raises(PresetSaveError, match="Leave it out"):
        write_bundle(["toy://bert", str(tmp_path / "preset")], tmp_path / "bundle")


def test_other_things_are_not_replaced(toy, tmp_path, cache):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    (tmp_path / "file").touch()
    for path in (tmp_path / "mine", tmp_path / "file"):
        with pytest.raises(PresetSaveError):
            write_bundle(["toy://bert"], path)
    assert toy.asked == []


def test_an_interrupted_one_leaves_the_one_before(toy, bundle, digest, monkeypatch):
    before = digest(bundle)
    toy.add("other", {"config.json": b"{}"})
    monkeypatch.setattr(atomic_save, "_replace_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_bundle(["toy://other"], bundle, replace=True)
    assert digest(bundle) == before
    assert [path for path in bundle.parent.iterdir() if path.name.endswith(".tmp")] == []


def test_space_is_looked_at_before(toy, tmp_path, monkeypatch):
    usage = bundling.shutil.disk_usage("/")
    real = bundling.shutil.disk_usage

    def little(path):
        return usage._replace(free=5) if path == tmp_path else real(path)

    monkeypatch.setattr(bundling.shutil, "disk_usage", little)
    with pytest.raises(PresetSaveError, match="has 5 free bytes"):
        write_bundle(["toy://bert"], tmp_path / "bundle")
