"""`vertebra config`: what is in force and why, and changes of the files that say so."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vertebra._configuration import settings
from vertebra._configuration.config_file import SETTINGS
from vertebra._system.folder_lock import folder_lock
from vertebra.cli import main


@pytest.fixture
def user(tmp_path, monkeypatch, reload_plugins):
    """The user's file, which does not exist."""
    monkeypatch.delenv("VERTEBRA_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = settings.config_path(os.environ)
    monkeypatch.setattr(settings, "MACHINE_CONFIG", tmp_path / "machine" / "config.toml")
    return path


@pytest.fixture
def machine(user):
    """The machine's file, which is empty."""
    settings.MACHINE_CONFIG.parent.mkdir()
    settings.MACHINE_CONFIG.write_text("")
    return settings.MACHINE_CONFIG


@pytest.fixture
def config(capsys, user):
    """Returns a function that runs the command, and returns its status, output and errors."""

    def run(*words):
        status = main(["config", *words])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


@pytest.fixture
def listed(config):
    """Returns a function that returns the settings in force, by name."""

    def run():
        status, out, err = config("list", "--json")
        assert (status, err) == (0, "")
        found = json.loads(out)
        assert found["problems"] == []
        return {row.pop("name"): row for row in found["settings"]}

    return run


# === list, get ===


def test_each_setting_has_its_value_and_its_origin(listed, user, machine, monkeypatch):
    user.parent.mkdir()
    user.write_text('block = ["s3"]\nruntime = "torch"\n')
    machine.write_text('runtime = "jax"\nprefer = ["bert"]\n[enforced]\noffline = true\n')
    monkeypatch.setenv("VERTEBRA_LOCKED", "1")
    found = listed()
    assert list(found) == list(SETTINGS)
    assert found["block"] == {"value": ["s3"], "source": "user", "origin": str(user), "enforced": None}
    assert (found["runtime"]["value"], found["runtime"]["source"]) == ("torch", "user")
    assert (found["prefer"]["value"], found["prefer"]["source"]) == (["bert"], "machine")
    assert (found["offline"]["value"], found["offline"]["source"]) == (True, "enforced")
    assert found["offline"]["origin"] == f"{machine} [enforced]"
    assert (found["locked"]["value"], found["locked"]["origin"]) == (True, "VERTEBRA_LOCKED")
    assert found["plugins"] == {"value": None, "source": "default", "origin": None, "enforced": None}


def test_lists_that_the_machine_enforces_are_shown_with_the_user_s(listed, config, machine, monkeypatch):
    machine.write_text('[enforced]\nplugins = ["bert*", "*"]\nblock = ["kaggle*"]\n')
    monkeypatch.setenv("VERTEBRA_BLOCK", "s3")
    found = listed()
    assert (found["block"]["value"], found["block"]["enforced"]) == (["kaggle*", "s3"], ["kaggle*"])
    assert (found["plugins"]["value"], found["plugins"]["source"]) == (["bert*", "*"], "enforced")
    assert "kaggle*" in config("list")[1]


def test_the_folder_of_the_cache_is_shown_without_a_setting(listed, config):
    assert listed()["cache"]["value"].endswith("vertebra")
    assert config("get", "lockfile")[1].strip() == str(Path.cwd() / "vertebra.lock")


def test_get_prints_the_value_alone(config, monkeypatch):
    monkeypatch.setenv("VERTEBRA_BLOCK", "s3, hf")
    assert config("get", "block") == (0, "s3\nhf\n", "")
    assert config("get", "offline") == (0, "0\n", "")
    assert config("get", "runtime") == (0, "\n", "")
    assert json.loads(config("get", "block", "--json")[1])["value"] == ["s3", "hf"]


def test_an_unknown_setting_is_answered_with_those_that_resemble_it(config, user):
    for words in (["get", "rutime"], ["set", "rutime", "jax"]):
        status, _, err = config(*words)
        assert status == 1
        assert "No setting is named 'rutime'. Did you mean 'runtime'" in err
    assert not user.exists()


# === set, unset ===


def test_what_is_set_is_in_force_and_keeps_the_other_lines(config, listed, user):
    assert config("set", "runtime", "torch")[0] == 0
    user.write_text(f"# mine\n{user.read_text()}")
    user.chmod(0o600)
    assert config("set", "block", "s3", "hf")[0] == 0
    assert config("set", "prefer", "bert,gpt2")[0] == 0
    assert config("set", "offline", "yes")[0] == 0
    assert (
        user.read_text()
        == '# mine\nruntime = "torch"\nblock = ["s3", "hf"]\nprefer = ["bert", "gpt2"]\noffline = true\n'
    )
    assert stat.S_IMODE(user.stat().st_mode) == 0o600
    assert listed()["offline"]["source"] == "user"
    assert config("unset", "block")[0] == 0
    assert listed()["block"]["source"] == "default"


def test_the_same_value_again_writes_nothing(config, user):
    config("set", "runtime", "torch")
    before = user.stat().st_ino
    assert "so already" in config("set", "runtime", "torch")[1]
    assert user.stat().st_ino == before


def test_an_equal_value_of_another_type_is_replaced(config, listed, user):
    user.parent.mkdir()
    user.write_text("offline = 1\n")
    assert config("set", "offline", "1")[0] == 0
    assert user.read_text() == "offline = true\n"
    assert listed()["offline"]["value"] is True


@pytest.mark.skipif(os.name != "posix", reason="folders have no locks there")
def test_a_change_waits_for_one_that_another_process_makes(user):
    user.parent.mkdir()
    code = "import sys; from pathlib import Path; from vertebra._configuration.changing import set_in_file"
    code += "; print('ready', flush=True); set_in_file(Path(sys.argv[1]), 'offline', True)"
    with folder_lock(user.parent):
        other = subprocess.Popen([sys.executable, "-c", code, str(user)], stdout=subprocess.PIPE)
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.5)
        user.write_text("locked = true\n")
    with other:
        assert other.wait(timeout=60) == 0
    assert user.read_text() == "locked = true\noffline = true\n"
    assert [path.name for path in user.parent.iterdir()] == [user.name]


def test_json_has_the_change(config, user):
    config("set", "runtime", "torch")
    facts = json.loads(config("set", "runtime", "jax", "--json")[1])
    assert facts == {"name": "runtime", "file": str(user), "before": "torch", "after": "jax", "notes": []}
    assert json.loads(config("unset", "runtime", "--json")[1])["after"] is None


def test_the_machine_s_file_and_its_rules(config, listed, machine):
    assert config("set", "runtime", "jax", "--machine")[0] == 0
    assert config("set", "locked", "1", "--enforced")[0] == 0
    assert machine.read_text() == 'runtime = "jax"\n\n[enforced]\nlocked = true\n'
    assert (listed()["locked"]["source"], listed()["runtime"]["source"]) == ("enforced", "machine")
    assert config("unset", "locked", "--enforced")[0] == 0
    assert listed()["locked"]["source"] == "default"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["offline", "maybe"], "'maybe' is neither on nor off"),
        (["runtime", "a", "b"], "runtime takes one value, not 2"),
        (["runtime", " "], "runtime is given a blank value"),
        (["cache", ""], "cache is given a blank value. To remove it: vertebra config unset cache"),
        (["cache_tiers", "/data", ""], "cache_tiers is given a blank value"),
        (["offline", ""], "offline is given a blank value"),
        (["runtime", "torhc"], "No runtime is named 'torhc'. Did you mean 'torch'"),
        (["signature_keys", "gone.pem"], "gone.pem is not a file, and so no key"),
        (["block", "s33"], "names plugin 's33', which is not installed. Did you mean 's3'"),
        (["block", ","], "block takes values, not 0"),
        (["plugins", "acme-policy", "*"], "names plugin 'acme-policy', which is not installed"),
        (["block", "builtin"], "is part of the core and cannot be blocked"),
        (["cache", __file__], "is not a folder, but the cache must be one"),
        (["runtime", "a\nb"], "has characters that cannot be printed"),
        (["offline", "0", "--enforced"], "only true can be enforced"),
        (["lockfile", "own.lock", "--enforced"], "depends on the user; write an absolute path"),
    ],
)
def test_a_value_that_the_loader_would_refuse_is_not_written(config, user, words, said):
    status, out, err = config("set", *words)
    assert (status, out) == (1, "")
    assert said in err
    assert not user.exists()
    assert not settings.MACHINE_CONFIG.exists()


def test_a_glob_may_match_nothing(config):
    assert config("set", "block", "acme-*")[0] == 0


def test_a_value_that_the_machine_enforces_is_refused(config, user, machine):
    machine.write_text('[enforced]\nruntime = "jax"\n')
    status, _, err = config("set", "runtime", "torch")
    assert status == 1
    assert f"runtime would have no effect: {machine} [enforced] sets it" in err
    assert not user.exists()


def test_a_value_that_a_variable_overrides_is_written_and_told(config, user, monkeypatch):
    monkeypatch.setenv("VERTEBRA_RUNTIME", "jax")
    status, _, err = config("set", "runtime", "torch")
    assert (status, user.read_text()) == (0, 'runtime = "torch"\n')
    assert err == "warning: this has no effect while VERTEBRA_RUNTIME sets runtime\n"


def test_a_setting_that_is_not_there_cannot_be_removed(config, user):
    config("set", "runtime", "torch")
    status, _, err = config("unset", "cache")
    assert status == 1
    assert "it does not set cache. Note that the file sets runtime." in err


def test_paths_of_the_cache_become_absolute(config, user, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config("set", "cache", "blobs")
    config("set", "lockfile", "my.lock")
    assert user.read_text() == f'cache = "{tmp_path}/blobs"\nlockfile = "my.lock"\n'


def test_what_the_machine_overrides_is_told_once(config, machine, monkeypatch, caplog):
    machine.write_text('runtime = "torch"\n[enforced]\nruntime = "jax"\nblock = ["kaggle*"]\n')
    monkeypatch.setenv("VERTEBRA_RUNTIME", "torch")
    assert config("list")[2] == ""
    assert config("set", "locked", "1")[2] == ""
    assert config("set", "block", "s3")[2] == f"warning: {machine} [enforced] has a list, too, and both apply\n"
    assert caplog.text == ""


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_for_all_users_that_others_cannot_read_is_told(config, machine):
    machine.chmod(0o600)
    status, _, err = config("set", "offline", "1", "--machine")
    assert (status, machine.read_text()) == (0, "offline = true\n")
    assert err.endswith(f"is an error; run: chmod a+r {machine}\n")
    machine.chmod(0o644)
    machine.parent.chmod(0o700)
    assert config("unset", "offline", "--machine")[2].endswith(f"run: chmod a+rx {machine.parent}\n")
    machine.parent.chmod(0o755)
    assert config("set", "offline", "1", "--machine")[2] == ""


# === Broken settings, and files of other kinds ===


def test_broken_settings_are_listed_and_repaired(config, listed, user, monkeypatch):
    user.parent.mkdir()
    user.write_text('blok = ["s3"]\nruntime = "torch"\n')
    monkeypatch.setenv("VERTEBRA_LOCKED", "perhaps")
    status, out, err = config("list")
    assert status == 1
    assert "blok = ['s3'] is not a setting" in err
    assert "'perhaps' is neither on nor off" in err
    assert "runtime" in out
    monkeypatch.delenv("VERTEBRA_LOCKED")
    status, _, err = config("set", "offline", "1")
    assert status == 0
    assert "blok" in err
    assert config("unset", "blok")[0] == 0
    assert (listed()["runtime"]["value"], listed()["offline"]["value"]) == ("torch", True)


def test_a_file_that_is_not_toml_is_named_and_unchanged(config, user):
    user.parent.mkdir()
    user.write_text("runtime: jax\n")
    for words in (["set", "offline", "1"], ["unset", "runtime"]):
        status, _, err = config(*words)
        assert status == 1
        assert f"Settings in {user}: it is not TOML" in err
    assert user.read_text() == "runtime: jax\n"


def test_a_layout_that_cannot_be_edited_is_left_to_the_user(config, machine):
    machine.write_text("enforced = { offline = true }\n")
    status, _, err = config("set", "locked", "1", "--enforced")
    assert status == 1
    assert "Edit the file, and write there: locked = true" in err
    assert machine.read_text() == "enforced = { offline = true }\n"


def test_enforced_settings_that_are_no_table_are_an_error(config, machine):
    machine.write_text("enforced = 3\n")
    status, _, err = config("set", "locked", "1", "--enforced")
    assert status == 1
    assert "enforced = 3 is not a table; write [enforced] above the settings" in err
    assert config("unset", "enforced", "--machine")[0] == 0
    assert machine.read_text() == ""


def test_a_value_that_json_does_not_have_can_be_removed(config, user):
    user.parent.mkdir()
    user.write_text("day = 2026-01-31\n")
    assert json.loads(config("unset", "day", "--json")[1])["before"] == "2026-01-31"
    user.write_text("number = nan\n")
    assert json.loads(config("unset", "number", "--json")[1], parse_constant=pytest.fail)["before"] is None
    assert user.read_text() == ""


def test_settings_of_plugins_that_cannot_be_met_do_not_keep_the_runtime_from_being_set(config, user, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme-policy")
    assert config("set", "runtime", "jax")[0] == 0
    assert user.read_text() == 'runtime = "jax"\n'


def test_a_link_stays_a_link(config, user, tmp_path):
    real = tmp_path / "dotfiles" / "vertebra.toml"
    real.parent.mkdir()
    real.write_text("# mine\n")
    user.parent.mkdir()
    user.symlink_to(real)
    assert config("set", "offline", "1")[0] == 0
    assert user.is_symlink()
    assert real.read_text() == "# mine\noffline = true\n"


def test_a_dangling_link_is_an_error(config, user):
    user.parent.mkdir()
    user.symlink_to("nothing/config.toml")
    status, _, err = config("set", "offline", "1")
    assert status == 1
    assert "whose target does not exist" in err
    assert not (user.parent / "nothing").exists()


def test_the_missing_file_that_a_variable_names_is_created(config, listed, tmp_path, monkeypatch):
    monkeypatch.setenv("VERTEBRA_CONFIG", str(tmp_path / "own" / "settings.toml"))
    assert config("list")[0] == 1
    assert config("set", "offline", "1")[0] == 0
    assert listed()["offline"]["origin"] == str(tmp_path / "own" / "settings.toml")


@pytest.mark.skipif(sys.platform != "linux", reason="home folders of Linux")
def test_a_user_without_a_home_folder(config, user, monkeypatch, capsys):
    """A container may run as a user whom the system does not know."""
    import pwd

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "VERTEBRA_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert config("get", "cache") == (0, "\n", "")
    status, _, err = config("set", "offline", "1")
    assert status == 1
    assert "is inside a file. Set VERTEBRA_CONFIG to the path of a file that you may write" in err
    assert main(["cache", "path"]) == 1
    assert "this user has no home folder, and so no cache. Set VERTEBRA_CACHE to a folder" in capsys.readouterr().err


def test_a_device_is_no_file_of_settings(config, monkeypatch):
    monkeypatch.setenv("VERTEBRA_CONFIG", os.devnull)
    status, _, err = config("set", "offline", "1")
    assert status == 1
    assert "it is not a regular file" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that this process may not write as another user")
def test_a_file_that_cannot_be_written_is_an_error_and_unchanged(config, user):
    config("set", "offline", "1")
    user.parent.chmod(0o500)
    os.seteuid(65534)
    try:
        status, _, err = config("set", "offline", "0")
    finally:
        os.seteuid(0)
    assert status == 1
    assert user.read_text() == "offline = true\n"
    assert "cannot be" in err
