"""Discovery: each plugin on its own, so that one that fails is named and hurts no other."""

import sys
import types

import pytest

import vertebra
from vertebra import _catalog, _plugins
from vertebra._plugins import Owner
from vertebra.errors import FailedPluginError, MissingPluginError, PluginError

BACKBONE = """
from vertebra import BackboneSpec, hookimpl

@hookimpl
def vertebra_backbones():
    return [BackboneSpec("{name}", "nowhere:{name}")]
"""

BROKEN = {
    "raises at import": "raise RuntimeError('out of order')",
    "needs what is not there": "import a_package_that_is_not_installed",
    "is no Python": "def",
    "exits at import": "import sys; sys.exit(3)",
    "is misspelled": "from vertebra import hookimpl\n@hookimpl\ndef vertebra_backbnes(): return []",
    "forgets the marker": "def vertebra_backbones(): return []",
    "forgets one marker": BACKBONE.format(name="Half") + "\ndef vertebra_runtimes(): return []",
    "asks for arguments": "from vertebra import hookimpl\n@hookimpl\ndef vertebra_backbones(what): return []",
    "has no hook": "x = 1",
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_one_that_fails_is_set_aside_and_the_rest_works(source, install, discover):
    install("acme-broken", source)
    install("acme-sound", BACKBONE.format(name="Sound"))
    found = discover()
    assert found["acme-broken"].status == "failed"
    assert found["acme-broken"].reason
    assert found["acme-broken"].implementations == {}
    assert found["acme-sound"].status == "loaded"
    assert found["acme-sound"].hooks == ["vertebra_backbones"]
    assert found["vertebra"].status == "loaded"


def test_one_that_is_interrupted_interrupts(install, discover):
    install("acme", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover()


def test_what_a_plugin_prints_stays_out_of_the_output(install, discover, capfd):
    install("acme", "print('hello')\nimport sys; print('hello', file=sys.stdout)" + BACKBONE.format(name="Talks"))
    assert discover()["acme"].status == "loaded"
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == "hello\nhello\n"


def test_one_that_was_asked_for_must_work(install, discover):
    install("acme", "raise ImportError('out of order')")
    with pytest.raises(FailedPluginError) as caught:
        discover(plugins=["acme"])
    assert caught.value.plugin == "acme"
    assert "out of order" in caught.value.reason


def test_a_policy_does_not_fall_with_a_contribution(install, discover):
    install(
        "acme",
        "from vertebra import hookimpl\n@hookimpl\ndef vertebra_backbones(): return []\n"
        "@hookimpl\ndef vertebra_refuse_preset(handle): return 'no'\n",
    )
    plugin = discover()["acme"]
    plugin.quarantine("its backbones cannot be used")
    assert plugin.hooks == ["vertebra_refuse_preset"]


def test_a_plugin_has_an_owner(install, discover):
    install("acme-tools", BACKBONE.format(name="Owned"), version="2.5")
    plugin = discover()["acme-tools"]
    assert plugin.name == "acme-tools"
    assert plugin.owner == Owner("acme-tools", "2.5", "acme_tools")


@pytest.mark.parametrize("value", ["acme-tools.plugin", "", "acme tools", "acme.plugin:", "3:4:5"])
def test_an_entry_point_that_names_no_module_is_set_aside(value, install, discover):
    install("acme", entry_points=[f"acme = {value}"])
    install("acme-sound", BACKBONE.format(name="Sound"))
    assert discover(block=["nothing"])["acme"].status == "failed"
    assert discover()["acme-sound"].status == "loaded"


def test_an_interrupted_installation_is_set_aside(install, discover):
    install("acme-sound", BACKBONE.format(name="Sound"), entry_points=["same = acme_sound"])
    (install("acme", "raise ImportError", entry_points=["same = acme"]) / "METADATA").unlink()
    found = discover(block=["nothing"])
    assert found["unknown"].status == "failed"
    assert found["acme-sound"].status == "loaded"


def test_two_distributions_may_use_one_entry_point_name(install, discover):
    install("acme-one", BACKBONE.format(name="One"), entry_points=["same = acme_one"])
    install("acme-two", BACKBONE.format(name="Two"), entry_points=["same = acme_two"])
    found = discover()
    assert [found[name].status for name in ("acme-one", "acme-two")] == ["loaded", "loaded"]
    assert [found[name].name for name in ("acme-one", "acme-two")] == ["same", "same"]


def test_a_hook_may_be_a_method_or_have_another_name(install, discover):
    source = """
from vertebra import hookimpl

class Plugin:
    @hookimpl(specname="vertebra_runtimes")
    def anything(self):
        return []

plugin = Plugin()
"""
    install("acme", source, entry_points=["acme = acme:plugin"])
    plugin = discover()["acme"]
    assert plugin.hooks == ["vertebra_runtimes"]
    assert plugin.implementations["vertebra_runtimes"]() == []


def test_200_more_plugins_are_all_found(install, discover):
    for number in range(200):
        install(f"acme-{number:03}", BACKBONE.format(name=f"Backbone{number}"))
    found = discover()
    assert sum(found[f"acme-{number:03}"].status == "loaded" for number in range(200)) == 200


# === Which plugins may load ===


@pytest.fixture
def two(install):
    """Two plugins, each of which leaves a trace when it is imported."""
    for name in ("one", "two"):
        install(f"Acme_{name}", BACKBONE.format(name=name.title()), entry_points=[f"{name} = Acme_{name}"])


@pytest.mark.parametrize(
    ("chosen", "loaded"),
    [
        ({}, {"one", "two"}),
        ({"block": ("one",)}, {"two"}),
        ({"block": ("Acme_one",)}, {"two"}),
        ({"block": ("acme-one",)}, {"two"}),
        ({"block": ("acme.*",)}, set()),
        ({"block": ("*",)}, set()),
        ({"block": ("On*",)}, {"one", "two"}),
        ({"plugins": ("one",)}, {"one"}),
        ({"plugins": ("ACME-one",)}, {"one"}),
        ({"plugins": ("acme-*",)}, {"one", "two"}),
        ({"plugins": ("acme-*",), "block": ("two",)}, {"one"}),
        ({"plugins": ()}, set()),
    ],
)
def test_lists_of_plugins_decide_which_are_imported(chosen, loaded, two, discover):
    found = discover(**chosen)
    assert {found[f"Acme_{name}"].name for name in ("one", "two") if f"Acme_{name}" in sys.modules} == loaded
    assert {name for name in ("one", "two") if found[f"Acme_{name}"].status == "loaded"} == loaded
    assert found["vertebra"].status == "loaded"
    assert all(plugin.reason for plugin in found.values() if plugin.status == "blocked")


@pytest.mark.parametrize("wanted", ["three", "acme-three", "acme-t*ree"])
def test_a_plugin_that_was_asked_for_must_be_there(wanted, two, discover):
    with pytest.raises(MissingPluginError) as caught:
        discover(plugins=("one", wanted), origins={"plugins": "some file"})
    assert (caught.value.wanted, caught.value.setting) == (wanted, "some file")
    assert {"one", "two"} <= set(caught.value.known)


@pytest.mark.parametrize(
    ("api", "status"), [((), "loaded"), (("1",), "loaded"), (("1", "2"), "loaded"), (("2",), "incompatible")]
)
def test_one_written_for_another_api_is_not_imported(api, status, install, discover):
    install("acme", BACKBONE.format(name="Other"), api=api)
    assert discover()["acme"].status == status
    assert ("acme" in sys.modules) == (status == "loaded")


# === Plugins that are not installed ===


def plugin_module(source, name="notebook"):
    module = types.ModuleType(name)
    exec(source, module.__dict__)
    return module


def test_adds_a_plugin_for_the_rest_of_the_process(anew):
    assert "Added" not in _catalog.catalog(_catalog.BACKBONES)
    vertebra.add_plugin(plugin_module(BACKBONE.format(name="Added")), "mine")
    entry = _catalog.catalog(_catalog.BACKBONES).lookup("Added")
    assert entry.owner == Owner("mine", "", "notebook")
    assert "Added" in dir(vertebra.models)


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        BROKEN["is misspelled"],
        BROKEN["forgets the marker"],
        "from vertebra import hookimpl\n@hookimpl\ndef vertebra_runtimes(): return [1]",
        "from vertebra import hookimpl\n@hookimpl\ndef vertebra_runtimes(): raise SystemExit",
    ],
)
def test_what_is_added_must_work(source, anew):
    with pytest.raises(PluginError) as caught:
        vertebra.add_plugin(plugin_module(source), "mine")
    assert caught.value.plugin == "mine"


def test_a_second_plugin_of_one_name_does_not_replace_the_first(anew):
    vertebra.add_plugin(plugin_module(BACKBONE.format(name="First")), "mine")
    with pytest.raises(PluginError):
        vertebra.add_plugin(plugin_module(BACKBONE.format(name="Second")), "mine")
    assert "First" in _catalog.catalog(_catalog.BACKBONES)
    assert "Second" not in _catalog.catalog(_catalog.BACKBONES)


def test_the_registry_of_the_process_follows_the_settings(anew, monkeypatch, two):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "one")
    assert [plugin.name for plugin in _plugins.registry().plugins if plugin.status == "loaded"] == ["builtin", "one"]
