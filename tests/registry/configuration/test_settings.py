"""Settings: the environment wins over the file, and a misspelled setting is an error."""

import os

import platformdirs
import pytest
from platformdirs import macos, windows

from vertebra._configuration.settings import config_path, read_settings
from vertebra.errors import SettingsError


@pytest.fixture
def read(tmp_path):
    """Returns a function that reads settings from a text in the configuration file and from variables."""
    path = tmp_path / "config.toml"

    def read_from(text="", **variables):
        path.write_text(text, encoding="utf-8")
        return read_settings({"VERTEBRA_CONFIG": str(path), **variables})

    return read_from


def test_defaults(read):
    chosen = read()
    assert (chosen.plugins, chosen.block, chosen.prefer, chosen.runtime) == (None, (), (), None)


def test_a_file_that_was_asked_for_must_be_there(tmp_path):
    with pytest.raises(SettingsError):
        read_settings({"VERTEBRA_CONFIG": str(tmp_path / "config.toml")})


def test_reads_the_file(read, tmp_path):
    chosen = read('plugins = ["a"]\nblock = ["b", "c*"]\nprefer = []\nruntime = "somewhere"')
    assert (chosen.plugins, chosen.block, chosen.prefer, chosen.runtime) == (("a",), ("b", "c*"), (), "somewhere")
    assert chosen.origin("block") == str(tmp_path / "config.toml")


def test_a_variable_wins_over_the_file(read):
    chosen = read('block = ["b"]\nruntime = "file"', VERTEBRA_BLOCK=" x , y,,", VERTEBRA_RUNTIME=" variable ")
    assert (chosen.block, chosen.runtime) == (("x", "y"), "variable")
    assert chosen.origin("block") == "VERTEBRA_BLOCK"


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_blank_variable_is_none(read, blank):
    chosen = read('plugins = ["a"]', VERTEBRA_PLUGINS=blank, VERTEBRA_RUNTIME=blank)
    assert (chosen.plugins, chosen.runtime) == (("a",), None)


@pytest.mark.parametrize(
    "text",
    [
        'blocked = ["a"]',
        'block = "a"',
        "block = [1]",
        "runtime = 1",
        'runtime = ["a"]',
        "[plugins]\nx = 1",
        "block = [",
        "block = ['a']\nblock = ['b']",
    ],
)
def test_refuses_what_is_no_setting(read, text, tmp_path):
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert caught.value.origin == str(tmp_path / "config.toml")


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff = 1")])
def test_refuses_a_file_that_cannot_be_read(make, tmp_path):
    make(tmp_path / "config.toml")
    with pytest.raises(SettingsError):
        read_settings({"XDG_CONFIG_HOME": "", "VERTEBRA_CONFIG": str(tmp_path / "config.toml")})


@pytest.mark.parametrize("home", ["/dev/null", "/nowhere at all"])
def test_a_user_without_a_home_has_no_file(home, monkeypatch):
    monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert read_settings({}).origins == {}


def test_a_user_unknown_to_the_system_has_no_file(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)
    assert read_settings({}).origins == {}


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"VERTEBRA_CONFIG": "/c.toml", "XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/c.toml"),
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/vertebra/config.toml"),
        ({"HOME": "/h"}, "/h/.config/vertebra/config.toml"),
    ],
)
def test_where_the_file_is(environment, path, monkeypatch):
    for name in ("XDG_CONFIG_HOME", "VERTEBRA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(config_path(os.environ)) == path


@pytest.mark.parametrize(
    ("system", "path"),
    [
        (macos.MacOS, "/h/Library/Application Support/vertebra/config.toml"),
        (windows.Windows, "/h/AppData/Local/vertebra/config.toml"),
    ],
)
def test_where_the_file_is_on_other_systems(system, path, monkeypatch):
    monkeypatch.setattr(platformdirs, "PlatformDirs", system)
    monkeypatch.setattr(windows, "get_win_folder", {"CSIDL_LOCAL_APPDATA": "/h/AppData/Local"}.get)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", "/h")
    assert str(config_path({})) == path


def test_places_stay_where_they_were_when_the_working_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = {
        "VERTEBRA_CACHE": "own",
        "VERTEBRA_CACHE_TIERS": "a,~nobody_of_that_name/b",
        "VERTEBRA_LOCKFILE": "x",
    }
    found = read_settings(environment | {"HOME": str(tmp_path)})
    assert (found.cache, found.lockfile) == (str(tmp_path / "own"), str(tmp_path / "x"))
    assert found.cache_tiers == (str(tmp_path / "a"), str(tmp_path / "~nobody_of_that_name" / "b"))


# === Settings that would have no effect ===


@pytest.mark.parametrize(
    ("variable", "resembles"),
    [("OFLINE", "OFFLINE"), ("PLUGIN", "PLUGINS"), ("BLOCKED", "BLOCK"), ("LOCK_FILE", "LOCKFILE"), ("LOCK", "LOCKED")],
)
def test_a_misspelled_variable_is_an_error(variable, resembles):
    with pytest.raises(SettingsError, match=f"resembles.* VERTEBRA_{resembles}") as caught:
        read_settings({f"VERTEBRA_{variable}": "1"})
    assert caught.value.origin == f"VERTEBRA_{variable}"


@pytest.mark.parametrize("variable", ["ACME_TOKEN", "HF_CACHE", "FAULT_RUNS", "S3_ENDPOINT"])
def test_variables_of_plugins_are_left_to_them(variable, read):
    assert read(**{f"VERTEBRA_{variable}": "1"}).origins == {}


@pytest.mark.parametrize("name", ["cache", "cache_tiers"])
@pytest.mark.parametrize("inside", ["", "/inside"])
def test_a_cache_is_no_file(name, inside, read, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="the cache must be one") as caught:
        read(**{f"VERTEBRA_{name.upper()}": f"{tmp_path}/file{inside}"})
    assert caught.value.origin == f"VERTEBRA_{name.upper()}"


def test_a_cache_in_the_file_cannot_hold_nul(read):
    with pytest.raises(SettingsError, match="is not a valid path"):
        read('cache = "/a\\u0000b"')


def test_a_cache_that_is_not_there_yet_is_fine(read, tmp_path):
    assert read(VERTEBRA_CACHE=str(tmp_path / "new" / "cache")).cache == str(tmp_path / "new" / "cache")


@pytest.mark.parametrize("name", ["runtime", "cache", "lockfile"])
def test_a_blank_text_in_the_file_is_an_error(name, read):
    with pytest.raises(SettingsError, match="not blank"):
        read(f'{name} = " "')
