"""Discovery: each plugin on its own, so that one that fails is named and hurts no other."""

import sys
import types

import pytest

import vertebra
from vertebra._configuration.settings import Settings
from vertebra._discovery import catalog, plugins
from vertebra._discovery.plugin import Owner
from vertebra._discovery.plugins import PluginRegistry
from vertebra._resolve.open import open_folder
from vertebra.cli import main
from vertebra.errors import (
    FailedPluginError,
    MissingPluginError,
    PluginError,
    PresetRefusedError,
    SettingsError,
    UnknownNameError,
)

pytestmark = pytest.mark.filterwarnings("ignore::vertebra.errors.PluginWarning")

BACKBONE = """
from vertebra import BackboneSpec, hookimpl

@hookimpl
def vertebra_backbones():
    return [BackboneSpec("{name}", "nowhere:{name}")]
"""

BROKEN = {
    "raises at import": "raise RuntimeError('out of order')",
    "a dependency is missing": "import a_package_that_is_not_installed",
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


def test_a_misspelled_hook_is_told_with_near_names(install, discover):
    install("acme", BROKEN["is misspelled"])
    install("beta", BROKEN["is misspelled"].replace("backbnes", "x"))
    reasons = [discover()[name].reason for name in ("acme", "beta")]
    assert "there is no hook 'vertebra_backbnes'; did you mean 'vertebra_backbones'" in reasons[0]
    assert reasons[0].endswith("? Correct the name of the function.")
    assert "there is no hook 'vertebra_x'; the hooks are vertebra_backbones, " in reasons[1]


INTERRUPTED = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"


def test_one_that_is_interrupted_interrupts(install, discover):
    install("acme", INTERRUPTED)
    with pytest.raises(KeyboardInterrupt):
        discover()


def test_one_that_raises_the_exception_of_an_interrupt_has_failed(install, discover):
    """V13."""
    install("acme", "raise KeyboardInterrupt")
    assert discover()["acme"].reason.startswith("line 1 of acme failed (KeyboardInterrupt). ")


def test_arguments_that_a_hook_does_not_have_are_named(install, discover):
    install("acme", BROKEN["asks for arguments"])
    install("beta", REFUSES.replace("(handle)", "(handle, preset)"))
    problem = "vertebra_backbones() has the arguments what, which the hook does not have"
    assert discover()["acme"].reason == f"{problem}. The arguments of the hook are: none."
    assert "has the arguments preset, " in discover()["beta"].reason


def test_an_interrupt_names_the_plugin(install, reload_plugins, monkeypatch, capsys):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme-*")
    install("acme-slow", INTERRUPTED)
    assert main(["plugins"]) == 130
    assert capsys.readouterr().err == "interrupted while importing plugin acme-slow of acme-slow\n"


@pytest.mark.parametrize(
    ("source", "action"),
    [
        ("import time; time.sleep(0.3)", "importing"),
        ("@hookimpl\ndef vertebra_backbones():\n    time.sleep(0.3)\n    return []", "calling the hooks of"),
    ],
)
def test_a_slow_plugin_is_named_once_while_it_runs(source, action, install, reload_plugins, monkeypatch, capsys):
    monkeypatch.setattr("vertebra._discovery.plugin._PATIENCE", 0.12)
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme-*")
    install("acme-slow", f"import time\nfrom vertebra import hookimpl\n{source}\n{REFUSES}")
    install("acme-sound", BACKBONE.format(name="Sound"))
    list(catalog.catalog(catalog.BACKBONES))
    assert capsys.readouterr().err == f"{action} plugin acme-slow of acme-slow ...\n"


# === Entry modules that import a framework ===


@pytest.fixture
def keras(install, tmp_path):
    """Returns a function that puts a module in Keras's place, which only the test may import."""

    def write(source):
        (tmp_path / "site" / "keras.py").write_text(source)

    return write


def test_an_entry_module_that_imports_keras_is_named(keras, install, reload_plugins, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme-*")
    keras("x = 1")
    install("acme-first", BACKBONE.format(name="First"))
    install("acme-heavy", "import keras" + BACKBONE.format(name="Heavy"))
    assert "Heavy" in catalog.catalog(catalog.BACKBONES)
    found = {plugin.name: plugin for plugin in plugins.registry().plugins}
    assert found["acme-heavy"].status == "loaded"
    assert "its entry module imports keras: " in found["acme-heavy"].problems[0]
    assert "An entry module must not import a framework" in found["acme-heavy"].problems[0]
    assert not found["acme-first"].problems


@pytest.mark.parametrize("hook", ["preset_sources", "lora_strategies", "backbones"])
def test_an_entry_module_that_imports_keras_gets_the_advice_for_its_hooks(hook, keras, install, reload_plugins):
    keras("x = 1")
    install("acme-heavy", f"import keras\nfrom vertebra import hookimpl\n@hookimpl\ndef vertebra_{hook}(): return []")
    catalog.catalog(catalog.BACKBONES)
    (problem,) = next(plugin for plugin in plugins.registry().plugins if plugin.name == "acme-heavy").problems
    assert "must not import a framework: import it inside the methods that need it" in problem
    assert ("BackboneSpec" in problem) == (hook == "backbones")


def test_an_entry_module_in_which_keras_fails_is_told_the_rule_and_not_what_keras_lacks(keras, install, discover):
    keras("import a_backend_that_is_not_installed")
    install("acme-heavy", "import keras" + BACKBONE.format(name="Heavy"))
    install("acme-other", "import a_library_that_is_not_installed")
    found = discover()
    assert found["acme-heavy"].status == found["acme-other"].status == "failed"
    assert found["acme-heavy"].reason.startswith("its entry module imports keras, which failed (ModuleNotFoundError: ")
    assert "An entry module must not import a framework" in found["acme-heavy"].reason
    assert found["acme-other"].reason == (
        "line 1 of acme_other imports 'a_library_that_is_not_installed', which is not installed. "
        "Install that, or update the plugin: pip install --upgrade acme-other."
    )


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


REFUSES = """
from vertebra import hookimpl

@hookimpl
def vertebra_refuse_preset(handle): return 'no'
"""
WRONG_BESIDE_A_POLICY = {
    "misspelled": "@hookimpl\ndef vertebra_backbnes(): return []",
    "without marker": "def vertebra_runtimes(): return []",
    "wrong arguments": "@hookimpl\ndef vertebra_backbones(what): return []",
}


@pytest.mark.parametrize("wrong", WRONG_BESIDE_A_POLICY.values(), ids=WRONG_BESIDE_A_POLICY)
def test_a_policy_does_not_fall_with_a_hook_that_is_wrong(wrong, install, discover):
    install("acme", f"{REFUSES}\n{wrong}")
    plugin = discover()["acme"]
    assert (plugin.status, plugin.hooks) == ("failed", ["vertebra_refuse_preset"])
    assert plugin.implementations["vertebra_refuse_preset"](handle=None) == "no"


@pytest.mark.parametrize("source", [REFUSES.replace("@hookimpl", ""), REFUSES.replace("(handle)", "(preset)")])
def test_a_policy_that_cannot_be_called_refuses(source, install, reload_plugins, monkeypatch, tmp_path):
    install("acme", source)
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme*")
    with pytest.raises(PresetRefusedError, match="the policy of acme"):
        open_folder(tmp_path)
    assert {plugin.name: plugin.status for plugin in plugins.registry().plugins}["acme"] == "failed"


MISSPELLED = {
    "refuse": "@hookimpl\ndef vertebra_refuse_presets(handle): return None",
    "refuse without the prefix": "@hookimpl\ndef refuse_preset(handle): return None",
    "refuse without the marker": "def vertebra_refuse_preset_(handle): return None",
    "refuse by specname": "@hookimpl(specname='vertebra_refuses_preset')\ndef mine(handle): return None",
    "rewrite": "@hookimpl\ndef vertebra_rewrite_handles(handle): return None",
}


@pytest.mark.parametrize("source", MISSPELLED.values(), ids=MISSPELLED)
def test_a_policy_with_a_misspelled_name_refuses(source, install, reload_plugins, monkeypatch, tmp_path):
    install("acme", f"from vertebra import hookimpl\n{source}")
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme*")
    with pytest.raises(
        PresetRefusedError, match=r"it has no hook of the name 'vertebra_re.*, which would never be call"
    ):
        open_folder(tmp_path)


@pytest.mark.parametrize("name", ["vertebra_backbnes", "vertebra_preset_load", "vertebra_x"])
def test_another_hook_with_a_misspelled_name_refuses_nothing(name, install, discover):
    install("acme", f"from vertebra import hookimpl\n@hookimpl\ndef {name}(): return None")
    plugin = discover()["acme"]
    assert (plugin.status, plugin.hooks) == ("failed", [])


# === Required plugins ===

UNUSABLE = {
    "blocked by name": (REFUSES, {"block": ("acme-policy",)}),
    "blocked by distribution": (REFUSES, {"block": ("Acme.Policy",)}),
    "blocked by module": (REFUSES, {"block": ("acme_policy",)}),
    "blocked by glob": (REFUSES, {"block": ("acme*",)}),
    "failed at import": ("raise ImportError('out of order')", {}),
    "failed in registering": (f"{REFUSES}\n@hookimpl\ndef vertebra_backbnes(): return []", {}),
    "no hook": ("x = 1", {}),
}


@pytest.mark.parametrize("named", ["acme-policy", "ACME.policy", "acme_policy"])
@pytest.mark.parametrize(("source", "chosen"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_required_plugin_that_is_not_in_use_is_an_error(source, chosen, named, install, discover):
    install("acme-policy", source)
    with pytest.raises(FailedPluginError) as caught:
        discover(plugins=(named, "*"), origins={"plugins": "some file"}, **chosen)
    assert (caught.value.plugin, caught.value.setting) == ("acme-policy", "some file")
    assert all(text in str(caught.value) for text in ("some file", "acme-policy", caught.value.reason))


def test_a_required_plugin_of_another_api_is_an_error(install, discover):
    install("acme-policy", REFUSES, api=("2",))
    with pytest.raises(FailedPluginError, match="supports plugin API 2"):
        discover(plugins=("acme-policy", "*"))


def test_a_required_plugin_whose_contribution_fails_is_an_error(install, reload_plugins, monkeypatch, tmp_path):
    install("acme-policy", f"{REFUSES}\n@hookimpl\ndef vertebra_backbones(): raise OSError('no network')")
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme-policy,*")
    for _ in range(2):
        with pytest.raises(FailedPluginError, match="no network"):
            open_folder(tmp_path)


def test_a_glob_requires_nothing(install, discover):
    install("acme-policy", "raise ImportError('out of order')")
    assert discover(plugins=("acme-p*", "nothing*"), block=("gone-*",))["acme-policy"].status == "failed"


def test_of_several_problems_the_others_are_notes(install, discover):
    install("acme-policy", REFUSES)
    with pytest.raises(FailedPluginError) as caught:
        discover(plugins=("acme-policy", "*"), block=("acme-policy", "acme-polisy"))
    assert ["acme-polisy" in note for note in caught.value.__notes__] == [True]


# === Names in settings that no plugin has ===


@pytest.mark.parametrize("setting", ["block", "prefer"])
def test_a_name_of_nothing_is_an_error_with_the_nearest_names(setting, two, discover):
    with pytest.raises(MissingPluginError) as caught:
        discover(**{setting: ("acme-tow",)}, origins={setting: "some file"})
    assert caught.value.setting == "some file"
    assert "Acme_two" in caught.value.suggestions
    assert "write a glob, such as acme-tow*" in str(caught.value)


@pytest.mark.parametrize("name", ["builtin", "vertebra", "vertebra.builtin.plugin"])
def test_the_core_cannot_be_blocked(name, discover):
    with pytest.raises(SettingsError, match="cannot be blocked"):
        discover(block=(name,))


def test_a_plugin_that_is_added_may_be_preferred(reload_plugins, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PREFER", "mine")
    vertebra.add_plugin(plugin_module(BACKBONE.format(name="BertBackbone")), "mine")
    assert catalog.catalog(catalog.BACKBONES).lookup("BertBackbone").owner.distribution == "mine"


def test_a_preferred_plugin_that_is_never_added_is_an_error(reload_plugins, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PREFER", "mine")
    with pytest.raises(MissingPluginError, match="VERTEBRA_PREFER names plugin 'mine'"):
        catalog.catalog(catalog.BACKBONES)


def test_a_plugin_has_an_owner(install, discover):
    install("acme-tools", BACKBONE.format(name="Owned"), version="2.5")
    plugin = discover()["acme-tools"]
    assert plugin.name == "acme-tools"
    assert plugin.owner == Owner("acme-tools", "2.5", "acme_tools")


@pytest.mark.parametrize("value", ["acme-tools.plugin", "", "acme tools", "acme.plugin:", "3:4:5"])
def test_an_entry_point_that_names_no_module_is_set_aside(value, install, discover):
    install("acme", entry_points=[f"acme = {value}"])
    install("acme-sound", BACKBONE.format(name="Sound"))
    assert discover(block=["nothing*"])["acme"].status == "failed"
    assert discover()["acme-sound"].status == "loaded"


def test_an_interrupted_installation_is_set_aside(install, discover):
    install("acme-sound", BACKBONE.format(name="Sound"), entry_points=["same = acme_sound"])
    (install("acme", "raise ImportError", entry_points=["same = acme"]) / "METADATA").unlink()
    found = discover(block=["nothing*"])
    assert found["unknown"].status == "failed"
    assert found["acme-sound"].status == "loaded"


def test_two_distributions_may_use_one_entry_point_name(install, discover):
    install("acme-one", BACKBONE.format(name="One"), entry_points=["same = acme_one"])
    install("acme-two", BACKBONE.format(name="Two"), entry_points=["same = acme_two"])
    found = discover()
    assert [found[name].status for name in ("acme-one", "acme-two")] == ["loaded", "loaded"]
    assert [found[name].name for name in ("acme-one", "acme-two")] == ["same", "same"]


def test_two_entry_points_of_one_module_are_one_plugin(install, discover):
    install("acme", BACKBONE.format(name="One"), entry_points=["one = acme", "two = acme"])
    found = PluginRegistry(Settings()).plugins
    assert {plugin.name: plugin.status for plugin in found if plugin.owner.distribution == "acme"} == {
        "one": "loaded",
        "two": "failed",
    }
    assert discover()["acme"].reason == (
        "its module is also that of the plugin 'one'. Name each module in one entry point."
    )


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
        ({"plugins": ("Acme_one", "acme-t*ree")}, {"one"}),
        ({"block": ("Acme_one", "acme-t*ree")}, {"two"}),
        ({"plugins": ("builtin", "two")}, {"two"}),
        ({"plugins": ()}, set()),
    ],
)
def test_lists_of_plugins_decide_which_are_imported(chosen, loaded, two, discover):
    found = discover(**chosen)
    assert {found[f"Acme_{name}"].name for name in ("one", "two") if f"Acme_{name}" in sys.modules} == loaded
    assert {name for name in ("one", "two") if found[f"Acme_{name}"].status == "loaded"} == loaded
    assert found["vertebra"].status == "loaded"
    assert all(plugin.reason for plugin in found.values() if plugin.status == "blocked")


@pytest.mark.parametrize("wanted", ["three", "acme-three"])
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


def test_adds_a_plugin_for_the_rest_of_the_process(reload_plugins):
    assert "Added" not in catalog.catalog(catalog.BACKBONES)
    vertebra.add_plugin(plugin_module(BACKBONE.format(name="Added")), "mine")
    entry = catalog.catalog(catalog.BACKBONES).lookup("Added")
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
def test_what_is_added_must_work(source, reload_plugins):
    with pytest.raises(PluginError) as caught:
        vertebra.add_plugin(plugin_module(source), "mine")
    assert caught.value.plugin == "mine"


def test_a_second_plugin_of_one_name_does_not_replace_the_first(reload_plugins):
    vertebra.add_plugin(plugin_module(BACKBONE.format(name="First")), "mine")
    with pytest.raises(PluginError):
        vertebra.add_plugin(plugin_module(BACKBONE.format(name="Second")), "mine")
    assert "First" in catalog.catalog(catalog.BACKBONES)
    assert "Second" not in catalog.catalog(catalog.BACKBONES)


def test_a_plugin_is_replaced_on_request(reload_plugins):
    vertebra.add_plugin(plugin_module(BACKBONE.format(name="First")), "mine")
    vertebra.add_plugin(plugin_module(BACKBONE.format(name="Second")), "mine", replace=True)
    names = [entry.name for entry in catalog.catalog(catalog.BACKBONES)]
    assert ("First" in names, "Second" in names) == (False, True)


def test_an_edited_module_is_added_again(reload_plugins):
    module = plugin_module(BACKBONE.format(name="First"))
    vertebra.add_plugin(module, "mine")
    exec(BACKBONE.format(name="Second"), module.__dict__)
    for name in ("mine", "other"):
        with pytest.raises(PluginError, match=r"Pass replace=True, or call vertebra.remove_plugin first") as caught:
            vertebra.add_plugin(module, name)
        assert len(str(caught.value)) < 200
    vertebra.add_plugin(module, "other", replace=True)
    assert [plugin.name for plugin in plugins.registry().plugins if plugin.added] == ["other"]
    assert "Second" in catalog.catalog(catalog.BACKBONES)


def test_a_plugin_that_failed_is_corrected_and_added_again(reload_plugins):
    hooks = "from vertebra import hookimpl\n@hookimpl\ndef vertebra_runtimes(): return 1"
    for source in (BROKEN["is misspelled"], hooks):
        with pytest.raises(PluginError) as caught:
            vertebra.add_plugin(plugin_module(source), "mine")
        assert str(caught.value).count("mine") == 1
        assert str(caught.value).endswith(". Correct the plugin, and add it again.")
    vertebra.add_plugin(plugin_module(BACKBONE.format(name="Corrected")), "mine")
    assert "Corrected" in catalog.catalog(catalog.BACKBONES)


def test_an_added_plugin_is_removed(reload_plugins, tmp_path):
    vertebra.add_plugin(plugin_module(REFUSES), "policy")
    with pytest.raises(PresetRefusedError):
        open_folder(tmp_path)
    vertebra.remove_plugin("policy")
    open_folder(tmp_path)
    vertebra.add_plugin(plugin_module(REFUSES), "policy")
    with pytest.raises(PresetRefusedError):
        open_folder(tmp_path)


def test_only_an_added_plugin_is_removed_or_replaced(install, reload_plugins, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme*")
    install("acme", REFUSES)
    with pytest.raises(PluginError, match="exclude it with VERTEBRA_BLOCK=acme"):
        vertebra.remove_plugin("acme")
    with pytest.raises(PluginError, match="its module is that of the plugin 'acme'"):
        vertebra.add_plugin(sys.modules["acme"], "mine", replace=True)
    with pytest.raises(UnknownNameError, match="No added plugin is named 'mine'"):
        vertebra.remove_plugin("mine")


def test_the_registry_of_the_process_follows_the_settings(reload_plugins, monkeypatch, two):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "one")
    assert [plugin.name for plugin in plugins.registry().plugins if plugin.status == "loaded"] == ["builtin", "one"]
