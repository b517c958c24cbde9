"""Names of presets: no bundle, tier, cache or lockfile gives one preset the name of another."""

import json

import pytest

from vertebra import BackboneSpec, PresetHandle, PresetSpec, Snapshot
from vertebra._cache.default_store import default_store
from vertebra._cache.prune import prune
from vertebra._cache.revisions import is_revision
from vertebra._cache.scan import scan_cache
from vertebra._cache.store import Store
from vertebra._cache.verify import verify_store
from vertebra._presets.bundle import read_bundle, write_bundle
from vertebra._presets.lock import lock_presets
from vertebra._presets.publish import upload
from vertebra._resolve import candidates
from vertebra._resolve.open import open_folder
from vertebra.cli.pull import pull_preset
from vertebra.errors import (
    LockError,
    OfflineError,
    PresetNotFoundError,
    PresetRefusedError,
    SourceUnavailableError,
    UnknownNameError,
    VertebraError,
)
from vertebra.testing import opened

GOOD, EVIL = PresetHandle("toy", "bert"), PresetHandle("toy", "evil", "x1")
DOWN = SourceUnavailableError("toy://bert", "no network")


@pytest.fixture
def bundle(toy, tmp_path):
    """A bundle of another preset, with a ref that names it `toy://bert`."""
    toy.add("evil", {"config.json": b"evil", "model.bin": b"evil"}, "x1")
    write_bundle([str(EVIL)], tmp_path / "bundle")
    Store(tmp_path / "bundle").put_ref(GOOD, EVIL)
    toy.asked.clear()
    return tmp_path / "bundle"


@pytest.fixture(params=["offline", "hub down"])
def without_network(request, toy, bundle, configure, tmp_path, monkeypatch):
    """Another machine, where the source does not answer; returns the error for a missing preset."""
    monkeypatch.setattr("vertebra._cache.cached_source._listed", {})
    toy.unreachable = DOWN
    configure(VERTEBRA_CACHE=str(tmp_path / "another"), **({"VERTEBRA_OFFLINE": "1"} if "off" in request.param else {}))
    return OfflineError if "off" in request.param else SourceUnavailableError


def is_told(caplog, kind, folder):
    return f"The {kind} {folder} has a ref from {GOOD} to {EVIL}" in caplog.text


def test_a_bundle_that_is_imported_gives_no_name(without_network, bundle, caplog):
    read_bundle([str(EVIL)], bundle)
    assert is_told(caplog, "bundle", bundle)
    with pytest.raises(without_network):
        open_folder(str(GOOD))
    assert open_folder(str(EVIL)).fetch("model.bin").read_bytes() == b"evil"  # by its own name it is there


def test_nor_one_that_is_imported_whole(without_network, bundle):
    read_bundle([], bundle)
    assert scan_cache(default_store().root).refs == {}
    with pytest.raises(without_network):
        open_folder(str(GOOD))


def test_what_a_bundle_has_under_another_name_it_does_not_have(without_network, bundle):
    with pytest.raises(PresetNotFoundError, match="is not in the bundle"):
        read_bundle([str(GOOD)], bundle)


def test_a_tier_gives_no_name(without_network, bundle, configure, caplog):
    configure(VERTEBRA_CACHE_TIERS=str(bundle))
    with pytest.raises(without_network):
        open_folder(str(GOOD))
    assert is_told(caplog, "cache tier", bundle)


def test_a_tier_that_is_sound_is_believed_though_another_one_is_not(without_network, bundle, configure, tmp_path, toy):
    sound = Store(tmp_path / "sound")
    sound.put_ref(GOOD, PresetHandle("toy", "bert", "r1"))
    configure(VERTEBRA_CACHE_TIERS=f"{bundle},{sound.root}")
    assert str(opened(candidates.source_of(GOOD, "")).resolve(GOOD)) == "toy://bert@r1"


def test_the_cache_itself_gives_no_name(without_network, bundle, caplog):
    read_bundle([], bundle)
    default_store().put_ref(GOOD, EVIL)  # as earlier versions have imported it
    with pytest.raises(without_network):
        open_folder(str(GOOD))
    assert is_told(caplog, "cache", default_store().root)


@pytest.mark.parametrize(
    "pinned", ["toy://bert", "toy://evil", "toy://bert@main", "other://bert@r1", "toy://bert/in@r1"]
)
def test_only_a_revision_of_the_same_preset_counts(without_network, toy, pinned):
    default_store().put_ref(GOOD, PresetHandle.parse(pinned))
    with pytest.raises(without_network):
        opened(toy).resolve(GOOD)


def test_what_another_program_remembers_gives_no_name(without_network, toy, monkeypatch):
    monkeypatch.setattr(toy, "external_snapshot", lambda handle: Snapshot(EVIL, []))
    with pytest.raises(without_network):
        open_folder(str(GOOD))


def test_a_built_in_id_and_its_copies_have_their_own_names(without_network, bundle, configure, plugin):
    spec = PresetSpec("bert_good", "toy://bert", 1, copies=("toy://copy",))
    Store(bundle).put_ref(PresetHandle("toy", "copy"), EVIL)
    configure(VERTEBRA_CACHE_TIERS=str(bundle))
    with plugin(vertebra_backbones=lambda: [BackboneSpec("Good", "nowhere:Good", presets=(spec,))]):
        with pytest.raises(without_network):
            open_folder("bert_good")
        with pytest.raises(PresetNotFoundError, match="is not in the bundle"):
            read_bundle(["bert_good"], bundle)


def test_a_mirror_has_its_own_name(without_network, bundle, configure, plugin):
    Store(bundle).put_ref(PresetHandle("toy", "mirror/bert"), EVIL)
    configure(VERTEBRA_CACHE_TIERS=str(bundle))

    def vertebra_rewrite_handle(handle):
        return [PresetHandle("toy", f"mirror/{handle.path}", handle.revision), handle]

    with plugin(vertebra_rewrite_handle=vertebra_rewrite_handle), pytest.raises(without_network):
        open_folder(str(GOOD))


def test_a_source_that_resolves_to_another_preset_is_not_noted(toy, monkeypatch, cache):
    toy.add("evil", {"config.json": b"evil"}, "x1")
    monkeypatch.setattr(toy, "resolve_snapshot", lambda handle: Snapshot(EVIL, []))
    assert opened(toy).resolve(GOOD) == EVIL
    assert scan_cache(cache.root).refs == {}


def test_a_source_that_refuses_a_handle_says_no():
    class Picky:
        def is_pinned(self, handle):
            raise ValueError(handle)

    assert is_revision(Picky(), EVIL, GOOD) is False


def test_a_scheme_that_no_source_reads_is_compared_by_path(toy):
    other = PresetHandle("other", "bert")
    assert candidates.is_revision(PresetHandle("other", "bert", "r1"), other)
    assert not candidates.is_revision(PresetHandle("other", "evil", "r1"), other)
    assert not candidates.is_misnamed(PresetHandle("other", "evil", "r1"), other)  # which is no proof


# === Finding and removing such a ref ===


def test_checking_finds_it_and_repairing_removes_it(bundle, cache):
    read_bundle([], bundle)
    cache.put_ref(GOOD, EVIL)
    (damage,) = verify_store(cache, is_misnamed=candidates.is_misnamed)[0]
    assert f"it maps {GOOD} to {EVIL}" in damage.problem
    assert verify_store(cache, repair=True, is_misnamed=candidates.is_misnamed)[0][0].repaired
    assert scan_cache(cache.root).refs == {}
    assert list(scan_cache(cache.root).presets) == [EVIL]


def test_pruning_a_preset_leaves_the_one_that_took_its_name(bundle, cache):
    read_bundle([], bundle)
    cache.put_ref(GOOD, EVIL)
    with pytest.raises(PresetNotFoundError):
        prune(cache.root, [GOOD], unpinned=candidates.unpinned)
    assert list(scan_cache(cache.root).presets) == [EVIL]


# === Lockfiles ===


@pytest.fixture
def locked(toy, tmp_path, configure):
    """Returns a function that locks a preset, and then changes its handle in the lockfile to another preset's."""
    path = tmp_path / "vertebra.lock"
    toy.add("evil", toy.presets["bert"]["r1"], "x1")

    def rename(preset, handle):
        lock_presets([preset], path, update=False)
        data = json.loads(path.read_text())
        data["presets"][preset]["handle"] = handle
        path.write_text(json.dumps(data))
        configure(VERTEBRA_LOCKED="1")

    return rename


@pytest.mark.parametrize(
    ("preset", "handle"),
    [("toy://bert", "toy://evil@x1"), ("toy://bert@r1", "toy://evil@x1"), ("toy://bert@r1", "toy://bert@r2")],
)
def test_a_lockfile_gives_no_name(locked, toy, preset, handle):
    toy.add("bert", toy.presets["bert"]["r1"], "r2")
    locked(preset, handle)
    with pytest.raises(LockError, match="which is another preset"):
        open_folder(preset)


def test_a_path_in_a_lockfile_is_no_handle(locked, tmp_path):
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "config.json").write_text("{}")
    locked(str(tmp_path / "preset"), "toy://evil@x1")
    with pytest.raises(LockError, match="which is another preset"):
        open_folder(str(tmp_path / "preset"))


def test_a_mirror_that_was_locked_is_used_behind_the_mirror(locked, toy, plugin):
    toy.add("mirror/bert", toy.presets["bert"]["r1"], "m1")
    locked("toy://bert", "toy://mirror/bert@m1")
    with pytest.raises(LockError, match="with the mirror"):
        open_folder("toy://bert")
    with plugin(vertebra_rewrite_handle=lambda handle: PresetHandle("toy", "mirror/bert", handle.revision)):
        assert str(open_folder("toy://bert").handle) == "toy://mirror/bert@m1"


@pytest.mark.parametrize("first", ["gone://bert", "toy://bert"])
def test_a_built_in_id_that_was_locked_at_a_place_that_no_source_reads_here(locked, plugin, first):
    handles = [first, *({"gone://bert", "toy://bert"} - {first})]
    spec = PresetSpec("bert_good", handles[0], 1, copies=(handles[1],))
    hooks = {"vertebra_backbones": lambda: [BackboneSpec("XBackbone", "x:X", presets=(spec,))]}
    with plugin(**hooks):
        locked("bert_good", "gone://bert@1")
        with pytest.raises(
            UnknownNameError, match=r"'bert_good' is at gone://bert@1\. .*Install a plugin that reads gone"
        ):
            open_folder("bert_good")
        locked("bert_good", "gone://evil@1")
        with pytest.raises(LockError, match="which is another preset"):
            open_folder("bert_good")


# === Policies ===


@pytest.fixture
def asked(plugin):
    """Handles that a policy was asked about; it refuses those of the other preset, and one revision."""
    found = []

    def vertebra_refuse_preset(handle):
        found.append(str(handle))
        return "not on the list" if handle.path == "evil" or handle.revision == "bad" else None

    with plugin(vertebra_refuse_preset=vertebra_refuse_preset):
        yield found


def test_policies_are_asked_about_what_a_handle_means(toy, asked):
    open_folder("toy://bert")
    assert asked == ["toy://bert", "toy://bert@r1"]
    asked.clear()
    open_folder("toy://bert@r1")
    assert asked == ["toy://bert@r1"]


WAYS = {
    "load": lambda preset, folder: open_folder(preset).config(),
    "pull": lambda preset, folder: pull_preset(preset),
    "bundle": lambda preset, folder: write_bundle([preset], folder / "out"),
    "lock": lambda preset, folder: lock_presets([preset], folder / "other.lock", update=False),
    "push": lambda preset, folder: upload(str(folder / "out"), preset),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_revision_that_a_policy_refuses_is_not_used_by_a_name_that_it_allows(way, toy, asked, tmp_path, cache):
    toy.add("bert", {"config.json": b"{}", "model.bin": b"bad"}, "bad")
    with pytest.raises(PresetRefusedError) as caught:
        way("toy://bert", tmp_path)
    assert str(caught.value.handle) == "toy://bert@bad"
    assert toy.reads() == []
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "other.lock").exists()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_source_that_resolves_to_what_a_policy_refuses(way, toy, asked, tmp_path, monkeypatch):
    toy.add("evil", {"config.json": b"evil"}, "x1")
    real = toy.resolve_snapshot
    monkeypatch.setattr(toy, "resolve_snapshot", lambda handle: real(EVIL))
    with pytest.raises(PresetRefusedError):
        way("toy://bert", tmp_path)
    assert toy.reads() == []


def test_of_several_candidates_the_next_one_is_tried(toy, asked, monkeypatch):
    toy.add("mirror", {"config.json": b"{}"}, "bad")
    monkeypatch.setattr(candidates, "_rewrite", lambda handle: [PresetHandle("toy", "mirror"), handle])
    assert str(open_folder("toy://bert").handle) == "toy://bert@r1"
    assert asked == ["toy://mirror", "toy://mirror@bad", "toy://bert", "toy://bert@r1"]


def test_what_is_imported_is_asked_about_by_both_names(bundle, asked, tmp_path, toy):
    with pytest.raises(PresetRefusedError):
        read_bundle([], bundle)
    toy.add("bert", {"config.json": b"{}"}, "bad")
    with pytest.raises(VertebraError):
        write_bundle(["toy://bert"], tmp_path / "refused")
    held = Store(tmp_path / "fine")
    held.put_file_list(PresetHandle("toy", "bert", "bad"), [])
    held.put_ref(GOOD, PresetHandle("toy", "bert", "bad"))
    with pytest.raises(PresetRefusedError, match="toy://bert@bad"):
        read_bundle(["toy://bert"], tmp_path / "fine")
