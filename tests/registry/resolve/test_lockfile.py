"""The lockfile: read strictly, written as it was, and enforced where it is asked for."""

import hashlib
import json

import pytest

from vertebra import PresetFile, PresetHandle
from vertebra._presets.lock import lock_presets
from vertebra._resolve.lockfile import LockedPreset, Lockfile, read_lockfile, write_lockfile
from vertebra._resolve.open import open_folder
from vertebra.errors import LockError

FILE = PresetFile("config.json", 2, None, "sha256:" + "0" * 64)
LOCKFILE = Lockfile(
    {
        "toy://b": LockedPreset(PresetHandle("toy", "b", "r1"), (FILE,)),
        "./a": LockedPreset(None, (FILE, PresetFile("in/side", 0, None, "sha256:" + "1" * 64))),
    },
    {"vertebra": "0.1.0"},
)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "vertebra.lock"
    write_lockfile(path, LOCKFILE)
    assert read_lockfile(path) == LOCKFILE
    text = path.read_text()
    write_lockfile(path, read_lockfile(path))
    assert path.read_text() == text
    assert str(tmp_path) not in text


def changed(change):
    data = {
        "version": 1,
        "presets": {"x": {"handle": "toy://b@r1", "files": {"config.json": {"size": 2, "sha256": "0" * 64}}}},
        "plugins": {},
    }
    change(data)
    return json.dumps(data)


WRONG = [("size", -1), ("size", "2"), ("size", True), ("size", 2.0)]
WRONG += [("sha256", "0" * 63), ("sha256", "G" * 64), ("sha256", None), ("sha256", 5)]
UNSOUND = {
    "empty": "",
    "no object": "[]",
    "another version": changed(lambda data: data.update(version=2)),
    "no version": changed(lambda data: data.pop("version")),
    "no presets": changed(lambda data: data.pop("presets")),
    "presets in a list": changed(lambda data: data.update(presets=[])),
    "no plugins": changed(lambda data: data.pop("plugins")),
    "no handle": changed(lambda data: data["presets"]["x"].pop("handle")),
    "no sound handle": changed(lambda data: data["presets"]["x"].update(handle="toy:b")),
    "a number as handle": changed(lambda data: data["presets"]["x"].update(handle=1)),
    "no files": changed(lambda data: data["presets"]["x"].pop("files")),
    **{
        f"{field} {value!r}": changed(
            lambda data, f=field, v=value: data["presets"]["x"]["files"]["config.json"].update({f: v})
        )
        for field, value in WRONG
    },
    "a key twice": '{"version": 1, "version": 1}',
}


@pytest.mark.parametrize("case", UNSOUND)
def test_what_is_unsound_is_refused(tmp_path, case):
    path = tmp_path / "vertebra.lock"
    path.write_text(UNSOUND[case])
    with pytest.raises(LockError) as caught:
        read_lockfile(path)
    assert caught.value.lockfile == path


def test_one_that_is_missing_says_how_to_write_it(tmp_path):
    with pytest.raises(LockError, match="vertebra lock"):
        read_lockfile(tmp_path / "vertebra.lock")


# === Enforced ===


@pytest.fixture
def locked(toy, configure, tmp_path):
    """The toy preset, locked, in a process that takes nothing else."""
    lock_presets(["toy://bert"], tmp_path / "vertebra.lock", update=False)
    configure(VERTEBRA_LOCKED="1")
    toy.asked.clear()
    return tmp_path / "vertebra.lock"


def test_a_locked_preset_stays_at_its_revision_and_nobody_is_asked_what_it_means(toy, locked):
    toy.add("bert", {"config.json": b"{}"}, "r2")
    folder = open_folder("toy://bert")
    assert str(folder.handle) == "toy://bert@r1"
    assert folder.names == {"config.json", "model.bin"}
    assert folder.fetch("model.bin").read_bytes() == toy.presets["bert"]["r1"]["model.bin"]
    assert toy.asked == ["read model.bin 0"]
    assert str(open_folder("toy://bert", locked=False).handle) == "toy://bert@r2"


def test_what_is_not_locked_is_refused_with_a_similar_name(toy, locked, configure):
    for text in ("toy://bart", "toy://bert@r1"):
        with pytest.raises(LockError, match="toy://bert"):
            open_folder(text)
    configure(VERTEBRA_LOCKED="0")
    assert open_folder("toy://bert@r1")
    with pytest.raises(LockError):
        open_folder("toy://bert@r1", locked=True)


def test_other_bytes_than_those_locked_are_refused(toy, locked):
    toy.presets["bert"]["r1"]["model.bin"] = bytes(5120)
    with pytest.raises(LockError) as caught:
        open_folder("toy://bert").fetch("model.bin")
    assert caught.value.lockfile == locked


def test_what_has_changed_in_the_cache_is_not_loaded(toy, locked):
    path = open_folder("toy://bert").fetch("model.bin")
    assert open_folder("toy://bert").fetch("model.bin") == path
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(LockError, match="cache verify --repair"):
        open_folder("toy://bert").fetch("model.bin")
    assert open_folder("toy://bert@r1", locked=False).fetch("model.bin") == path  # sizes are compared, as everywhere


def test_a_folder_is_locked_by_its_files_wherever_it_is(toy, configure, tmp_path, monkeypatch):
    folder = tmp_path / "one" / "preset"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "one")
    lock_presets(["./preset"], tmp_path / "vertebra.lock", update=False)
    assert str(tmp_path) not in (tmp_path / "vertebra.lock").read_text()
    (tmp_path / "one").rename(tmp_path / "two")
    monkeypatch.chdir(tmp_path / "two")
    assert open_folder("./preset", locked=True).fetch("config.json") == tmp_path / "two" / "preset" / "config.json"
    (tmp_path / "two" / "preset" / "config.json").write_text("[]")
    with pytest.raises(LockError):
        open_folder("./preset", locked=True).fetch("config.json")


def test_digests_of_a_lockfile_are_those_of_the_files(toy, locked):
    (preset,) = read_lockfile(locked).presets.values()
    data = toy.presets["bert"]["r1"]
    assert {file.name: file.digest for file in preset.files} == {
        name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in data.items()
    }
