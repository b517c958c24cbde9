"""The machine's configuration: defaults that users may change, and rules that nothing in their environment weakens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vertebra._configuration import settings
from vertebra._configuration.settings import Settings, read_settings
from vertebra._discovery.plugins import PluginRegistry
from vertebra.errors import FailedPluginError, LockError, MissingPluginError, RuntimeBoundError, SettingsError

POLICY = """
from vertebra import hookimpl

@hookimpl
def vertebra_refuse_preset(handle):
    return "not on the list of this organisation"
"""


@pytest.fixture
def machine(tmp_path):
    """The machine's file, to be written by a test."""
    return tmp_path / "machine" / "config.toml"


@pytest.fixture
def read(machine):
    """Returns a function that writes the machine's file, and reads the settings of an environment."""

    def read_with(text, **variables):
        machine.parent.mkdir(exist_ok=True)
        machine.write_text(text, encoding="utf-8")
        return read_settings({"VERTEBRA_CONFIG": os.devnull, **variables}, machine)

    return read_with


# === Defaults ===


def test_the_machine_needs_no_file(machine):
    assert read_settings({"VERTEBRA_CONFIG": os.devnull}, machine) == Settings(origins={})


@pytest.mark.parametrize(("text", "problem"), [("[" * 2000, "nested too deeply"), ("9" * 5000, "not TOML")])
def test_a_value_that_cannot_be_read_is_an_error_that_names_the_file(read, machine, text, problem):
    with pytest.raises(SettingsError, match=problem) as refused:
        read(f"plugins = {text}")
    assert str(machine) in str(refused.value)


def test_where_the_file_is_does_not_depend_on_the_environment():
    code = "from vertebra._configuration import settings; print(settings.MACHINE_CONFIG)"
    environment = {"HOME": "/h", "XDG_CONFIG_HOME": "/x", "XDG_CONFIG_DIRS": "/y", "PROGRAMDATA": "/z"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == settings.MACHINE_CONFIG
    assert settings.MACHINE_CONFIG.is_absolute()


def test_a_default_of_the_machine_gives_way_to_the_user(read, tmp_path, machine):
    (tmp_path / "own.toml").write_text('block = ["own"]')
    text = 'runtime = "machine"\nblock = ["machine"]\noffline = true'
    found = read(text, VERTEBRA_CONFIG=str(tmp_path / "own.toml"), VERTEBRA_OFFLINE="0")
    assert (found.runtime, found.block, found.offline) == ("machine", ("own",), False)
    assert found.origin("runtime") == str(machine)
    assert found.enforced is None


# === A file that is wrong ===


@pytest.mark.parametrize(
    "text",
    [
        "[enforced",
        "blocks = []",
        "enforced = 1",
        "[enforced]\nblocks = ['x']",
        "[enforced]\nblock = 'x'",
        "[enforced]\noffline = false",
        "[enforced]\nlocked = 1",
        "[enforced]\ncache = 'relative'",
        "[enforced]\ncache = '~/cache'",
        "[enforced]\ncache_tiers = ['/tier', 'relative']",
        "[enforced]\nlockfile = ''",
        "[enforced.enforced]\nblock = []",
    ],
)
def test_a_rule_that_is_wrong_is_an_error_and_not_left_out(read, text, machine):
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert caught.value.origin.startswith(str(machine))


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff")])
def test_a_file_that_cannot_be_read_is_an_error(make, machine):
    machine.parent.mkdir()
    make(machine)
    with pytest.raises(SettingsError):
        read_settings({}, machine)


@pytest.mark.parametrize("is_link", ["config.toml", "folder"])
@pytest.mark.parametrize("target", ["nothing", "file/below"])
def test_a_link_without_a_target_is_no_absent_file(tmp_path, machine, monkeypatch, is_link, target):
    (tmp_path / "file").write_text("")
    link = machine if is_link == "config.toml" else machine.parent
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / target)
    monkeypatch.setattr("platformdirs.user_config_path", lambda name, **_: tmp_path / name)
    for environment, config in (({"VERTEBRA_CONFIG": os.devnull}, machine), ({}, None)):
        if config is None:
            (tmp_path / "vertebra").symlink_to(machine.parent)
        with pytest.raises(SettingsError, match="symbolic link whose target does not exist") as caught:
            read_settings(environment, config or tmp_path / "absent.toml")
        assert "remove it to use the defaults" in str(caught.value)


def test_only_the_machine_enforces(tmp_path, machine):
    (tmp_path / "own.toml").write_text("[enforced]\noffline = true")
    with pytest.raises(SettingsError, match="enforced"):
        read_settings({"VERTEBRA_CONFIG": str(tmp_path / "own.toml")}, machine)


# === Enforced settings ===


@pytest.mark.parametrize("rule", ["offline", "locked"])
def test_a_switch_that_is_enforced_stays_on(read, rule, machine):
    found = read(f"[enforced]\n{rule} = true", **{f"VERTEBRA_{rule.upper()}": "0"})
    assert getattr(found, rule) is True
    assert found.origin(rule) == f"{machine} [enforced]"


def test_texts_and_tiers_that_are_enforced_replace_the_users(read, caplog):
    text = "[enforced]\nruntime = 'one'\ncache = '/cache'\ncache_tiers = ['/tier']\nlockfile = '/lock'"
    users = {"RUNTIME": "two", "CACHE": "/other", "CACHE_TIERS": "/evil", "LOCKFILE": "/other.lock"}
    found = read(text, **{f"VERTEBRA_{name}": value for name, value in users.items()})
    assert (found.runtime, found.cache, found.cache_tiers, found.lockfile) == ("one", "/cache", ("/tier",), "/lock")
    assert all(f"VERTEBRA_{name} has no effect" in caplog.text for name in users)
    caplog.clear()
    read(text, VERTEBRA_RUNTIME="one")
    assert caplog.text == ""


def test_lists_of_plugins_have_both_parts(read, machine):
    found = read("[enforced]\nblock = ['a']\nprefer = ['b']", VERTEBRA_BLOCK="c", VERTEBRA_PREFER="d")
    assert found.lists("block") == [(("a",), f"{machine} [enforced]"), (("c",), "VERTEBRA_BLOCK")]
    assert found.names("prefer") == ("b", "d")
    assert found.lists("plugins") == []


@pytest.fixture
def loaded(install, read):
    """Returns a function that says which of three plugins load under rules of the machine and variables of a user."""
    for name in ("one", "two", "policy"):
        install(f"acme-{name}", POLICY, entry_points=[f"{name} = acme_{name}"])

    def load(text, **variables):
        found = PluginRegistry(read(text, **variables))
        found.check_settings("block", "prefer")
        return {plugin.name for plugin in found.plugins if plugin.status == "loaded"} & {"one", "two", "policy"}

    return load


@pytest.mark.parametrize(
    ("rules", "variables", "names"),
    [
        ("plugins = ['policy', '*']", {}, {"one", "two", "policy"}),
        ("plugins = ['policy', '*']", {"VERTEBRA_PLUGINS": "policy,one"}, {"one", "policy"}),
        ("plugins = ['policy', 'acme-o*']", {"VERTEBRA_PLUGINS": "*"}, {"one", "policy"}),
        ("plugins = ['acme-*']", {"VERTEBRA_PLUGINS": "two"}, {"two"}),
        ("block = ['one']", {"VERTEBRA_BLOCK": "two"}, {"policy"}),
        ("block = ['one']", {"VERTEBRA_PLUGINS": "*"}, {"two", "policy"}),
    ],
)
def test_a_plugin_must_be_admitted_by_both(rules, variables, names, loaded):
    assert loaded(f"[enforced]\n{rules}", **variables) == names


@pytest.mark.parametrize(
    ("rules", "variables", "setting"),
    [
        ("plugins = ['policy', '*']", {"VERTEBRA_BLOCK": "policy"}, "VERTEBRA_BLOCK"),
        ("plugins = ['policy', '*']", {"VERTEBRA_BLOCK": "acme_policy"}, "VERTEBRA_BLOCK"),
        ("plugins = ['policy', '*']", {"VERTEBRA_BLOCK": "*"}, "VERTEBRA_BLOCK"),
        ("plugins = ['policy', '*']", {"VERTEBRA_PLUGINS": "one"}, "VERTEBRA_PLUGINS"),
        ("block = ['one']", {"VERTEBRA_PLUGINS": "one"}, "[enforced]"),
    ],
)
def test_a_rule_that_a_variable_contradicts_is_an_error_that_names_both(rules, variables, setting, loaded, machine):
    with pytest.raises(FailedPluginError) as caught:
        loaded(f"[enforced]\n{rules}", **variables)
    assert setting in str(caught.value)
    assert str(machine) in str(caught.value)


def test_a_plugin_that_a_rule_requires_must_be_installed(loaded, machine):
    with pytest.raises(MissingPluginError, match=r"names plugin 'polcy'.*Did you mean 'policy'") as caught:
        loaded("[enforced]\nplugins = ['polcy', '*']")
    assert caught.value.setting == f"{machine} [enforced]"


def test_a_runtime_that_is_enforced_is_the_only_one(monkeypatch, read):
    from vertebra._discovery import runtimes

    found = read("[enforced]\nruntime = 'torch'")
    monkeypatch.setattr(runtimes, "settings", lambda: found)
    monkeypatch.setattr(runtimes, "bound_backend", lambda: "jax")
    assert runtimes._permitted("torch") == runtimes._permitted(None) == "torch"
    with pytest.raises(SettingsError, match="it enforces the runtime 'torch', but 'jax' was requested"):
        runtimes.bind("jax")
    with pytest.raises(RuntimeBoundError):
        runtimes.bind()


def test_what_must_be_locked_is_not_unlocked_by_an_argument(monkeypatch, read):
    from vertebra._resolve import lockfile

    found = read("[enforced]\nlocked = true")
    monkeypatch.setattr(lockfile, "settings", lambda: found)
    lockfile.check_unlocked(None)
    with pytest.raises(LockError, match="the call has locked=False"):
        lockfile.check_unlocked(False)


def test_required_signatures_are_enforced_with_their_keys(read, tmp_path, machine):
    text = '[enforced]\nrequire_signature = true\nsignature_keys = ["/etc/vertebra/acme.pem"]'
    found = read(text, VERTEBRA_REQUIRE_SIGNATURE="0", VERTEBRA_SIGNATURE_KEYS="mine.pem")
    assert (found.require_signature, found.signature_keys) == (True, ("/etc/vertebra/acme.pem",))
    with pytest.raises(SettingsError, match="depends on the user; write an absolute path"):
        read('[enforced]\nsignature_keys = ["acme.pem"]')
    with pytest.raises(SettingsError, match="only true can be enforced"):
        read("[enforced]\nrequire_signature = false")
