"""The plugins that read a locked preset: recorded for each, and compared at a load."""

import json
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

from checked_json import check
from vertebra._presets.lock import lock_presets
from vertebra._resolve import locked_plugins
from vertebra._resolve.locked_plugins import check_architecture
from vertebra._resolve.lockfile import read_lockfile, write_lockfile
from vertebra._resolve.open import open_folder
from vertebra.cli import main
from vertebra.errors import LockError

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"
OLD = sorted(Path(__file__).with_name("golden").glob("*.lock"))
OURS = version("vertebra")


@pytest.fixture
def path(configure, tmp_path, monkeypatch):
    """The lockfile, in the current folder with a preset and an adapter."""
    shutil.copytree(GOLDEN / "transformers", tmp_path / "preset")
    shutil.copytree(GOLDEN / "peft_dora", tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locked_plugins, "_told", set())
    return tmp_path / "vertebra.lock"


@pytest.fixture
def locked(path):
    """Returns a function that locks the preset, and gives a distribution another version in the lockfile."""

    def lock(name, version):
        lock_presets(["./preset"], path, update=True)
        data = json.loads(path.read_text())
        data["presets"]["./preset"]["plugins"][name] = version
        path.write_text(json.dumps(data))
        return path

    return lock


def test_each_entry_has_the_distributions_that_read_it(path):
    lock_presets(["./preset", "./adapter"], path, update=False)
    presets = read_lockfile(path).presets
    assert presets["./preset"].plugins == {"vertebra": OURS, "vertebra-bert": version("vertebra-bert")}
    assert presets["./adapter"].plugins == {
        "vertebra": OURS,
        "vertebra-lora-variants": version("vertebra-lora-variants"),
    }


def test_a_remote_preset_that_no_plugin_describes_has_the_core_alone(toy, tmp_path):
    lock_presets(["toy://bert"], tmp_path / "vertebra.lock", update=False)
    (entry,) = read_lockfile(tmp_path / "vertebra.lock").presets.values()
    assert entry.plugins == {"vertebra": OURS}  # the source was added to this process, and has no version


@pytest.mark.parametrize("old", OLD, ids=lambda path: path.stem)
def test_lockfiles_of_other_releases_are_read_and_stay_as_they_are(old, tmp_path):
    found = read_lockfile(old)
    assert [preset.plugins for preset in found.presets.values()] == [{}, {}]
    write_lockfile(tmp_path / "again.lock", found)
    assert (tmp_path / "again.lock").read_bytes() == old.read_bytes()


def test_keys_of_later_releases_are_passed_over(path):
    lock_presets(["./preset"], path, update=False)
    data = json.loads(path.read_text())
    data["later"] = data["presets"]["./preset"]["later"] = {"x": 1}
    path.write_text(json.dumps(data))
    assert read_lockfile(path).presets["./preset"].plugins


@pytest.mark.parametrize("plugins", [{"a; rm -rf ~": "1"}, {"a": "1' x"}, {"a": 1}, ["a"], None])
def test_names_that_are_no_distributions_are_refused(path, plugins):
    lock_presets(["./preset"], path, update=False)
    data = json.loads(path.read_text())
    data["presets"]["./preset"]["plugins"] = plugins
    path.write_text(json.dumps(data))
    with pytest.raises(LockError, match="structure of a lockfile"):
        read_lockfile(path)


# === At a load ===


def test_another_version_is_told_once(locked):
    locked("vertebra-bert", "0.0.9")
    said = (
        r"'\./preset' was locked with vertebra-bert 0\.0\.9 \(.* is installed\).*pip install 'vertebra-bert==0\.0\.9'"
    )
    with pytest.warns(UserWarning, match=said):
        open_folder("./preset", locked=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_folder("./preset", locked=True)


def test_the_locked_versions_are_told_nothing(locked):
    locked("vertebra", OURS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_folder("./preset", locked=True).names


@pytest.mark.parametrize(
    ("name", "said"),
    [("vertebra-bert", "vertebra-bert 0.0.9 (0"), ("acme-bert", "acme-bert 0.0.9 (none is installed)")],
)
def test_a_setting_makes_it_an_error(locked, configure, name, said):
    path = locked(name, "0.0.9")
    configure(VERTEBRA_LOCKED_PLUGINS="1")
    with pytest.raises(LockError) as caught:
        open_folder("./preset", locked=True)
    assert caught.value.lockfile == path
    assert said in str(caught.value)
    assert f"pip install '{name}==0.0.9'" in str(caught.value)
    assert "vertebra lock --update ./preset" in str(caught.value)
    assert open_folder("./preset", locked=False).names
    lock_presets([], path, update=True)
    assert open_folder("./preset", locked=True).names


def test_with_the_setting_an_older_lockfile_must_be_completed(locked, configure):
    path = locked("vertebra", OURS)
    data = json.loads(path.read_text())
    del data["presets"]["./preset"]["plugins"]
    path.write_text(json.dumps(data))
    assert open_folder("./preset", locked=True).names
    configure(VERTEBRA_LOCKED_PLUGINS="1")
    with pytest.raises(LockError, match=r"VERTEBRA_LOCKED_PLUGINS requires\. Write them with: vertebra lock --update"):
        open_folder("./preset", locked=True)
    lock_presets([], path, update=True)
    assert open_folder("./preset", locked=True).names


def test_with_the_setting_the_architecture_must_be_among_the_locked_plugins(path, configure):
    lock_presets(["./preset"], path, update=True)
    data = json.loads(path.read_text())
    del data["presets"]["./preset"]["plugins"]["vertebra-bert"]  # as it is locked where the plugin is not installed
    path.write_text(json.dumps(data))
    folder = open_folder("./preset", locked=True)
    check_architecture(folder, "BertBackbone")
    configure(VERTEBRA_LOCKED_PLUGINS="1")
    with pytest.raises(LockError, match=r"'\./preset' was locked without vertebra-bert, which reads it\. Write"):
        check_architecture(folder, "BertBackbone")
    check_architecture(folder, "OwnBackbone")
    check_architecture(open_folder("./preset", locked=False), "BertBackbone")


# === The commands ===


def test_the_commands_tell_other_versions_and_count_them_with_the_setting(locked, configure, capsys):
    locked("vertebra-bert", "0.0.9")
    differing = {"vertebra-bert": {"locked": "0.0.9", "installed": version("vertebra-bert")}}
    for command in ("lock", "verify"):
        assert main([command]) == 0
        assert "  locked with vertebra-bert 0.0.9 (" in capsys.readouterr().out
        assert main([command, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        check(command, found)
        assert (found if command == "lock" else found["presets"])[0]["plugins"] == differing
    configure(VERTEBRA_LOCKED_PLUGINS="1")
    assert (main(["lock"]), main(["verify"])) == (1, 1)
    capsys.readouterr()
    assert main(["lock", "--update"]) == 0
    shown = capsys.readouterr().out
    assert "./preset: updated" in shown
    assert f"  plugins: vertebra-bert {version('vertebra-bert')}\n" in shown
    assert (main(["lock"]), main(["verify"])) == (0, 0)


def test_the_commands_fail_for_an_older_lockfile_where_a_load_would(locked, configure, capsys):
    path = locked("vertebra", OURS)
    data = json.loads(path.read_text())
    del data["presets"]["./preset"]["plugins"]
    path.write_text(json.dumps(data))
    for setting, status in {"0": 0, "1": 1}.items():
        configure(VERTEBRA_LOCKED_PLUGINS=setting)
        for command in ("lock", "verify"):
            assert main([command]) == status
            told = "the lockfile does not tell which plugins read it: vertebra lock --update ./preset"
            assert (told in capsys.readouterr().out) == bool(status)
            assert main([command, "--json"]) == status
            check(command, json.loads(capsys.readouterr().out))
    assert main(["lock", "--update"]) == 0
    assert (main(["lock"]), main(["verify"])) == (0, 0)
