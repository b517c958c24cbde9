"""Configs that several architectures read: a preference or the class that the user names decides."""

import json

import pytest

from vertebra._discovery.catalog import clashes, identifiers
from vertebra._formats.registry import read_description
from vertebra._resolve.open import open_folder
from vertebra.cli import main
from vertebra.errors import PluginError, PresetConfigError

PLUGIN = """
from vertebra import BackboneSpec, FormatSpec, Translation, hookimpl

class Reads(Translation):
    def arguments(self, config):
        return {{"layers": config.get("layers", 1)}}

    def config(self, arguments):
        return {{}}

    def rules(self, arguments):
        return {{}}

@hookimpl
def vertebra_backbones():
    formats = {{"transformers": FormatSpec(("llama", "{own}"), "{module}:Reads")}}
    return [BackboneSpec("{name}", "nowhere:{name}", formats=formats)]
"""


@pytest.fixture(autouse=True)
def two(install, reload_plugins, monkeypatch):
    """Two plugins that read one model type."""
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme,beta")
    for plugin in ("acme", "beta"):
        name = f"{plugin.title()}LlamaBackbone"
        install(plugin, PLUGIN.format(name=name, own=f"{plugin}_llama", module=plugin))


@pytest.fixture
def read(tmp_path):
    """Returns a function that reads a config."""

    def describe(config, asked=None, preset=tmp_path):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return read_description(open_folder(preset), asked).backbone

    return describe


def test_the_error_names_both_and_every_way_out(read):
    with pytest.raises(PresetConfigError) as caught:
        read({"model_type": "llama"})
    said = str(caught.value)
    for part in (
        "model_type 'llama' is read by AcmeLlamaBackbone of acme 1.0 (acme) and BetaLlamaBackbone of beta 1.0 (beta). ",
        "vertebra.models.AcmeLlamaBackbone.from_preset",
        "VERTEBRA_PREFER=acme",
        "VERTEBRA_BLOCK=beta",
    ):
        assert part in said


@pytest.mark.parametrize("wanted", ["acme", "beta"])
def test_a_preference_decides(read, wanted, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PREFER", wanted)
    assert read({"model_type": "llama"}) == f"{wanted.title()}LlamaBackbone"
    assert not list(clashes())


def test_the_class_that_the_user_names_decides(read, monkeypatch):
    named = type("BetaLlamaBackbone", (), {})
    assert read({"model_type": "llama"}, named) == "BetaLlamaBackbone"
    assert read({"model_type": "llama"}, type("Mine", (named,), {})) == "BetaLlamaBackbone"
    with pytest.raises(PresetConfigError):
        read({"model_type": "llama"}, type("Other", (), {}))


def test_the_class_of_the_call_decides_against_a_preference(read, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PREFER", "acme")
    assert read({"model_type": "llama"}, type("BetaLlamaBackbone", (), {})) == "BetaLlamaBackbone"


def test_a_fallback_comes_last_unless_it_is_named_or_preferred(read, install, reload_plugins, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme,gamma")
    code = PLUGIN.format(name="GammaLlamaBackbone", own="gamma_llama", module="gamma")
    install("gamma", code.replace("formats=formats", "formats=formats, fallback=True"))
    reload_plugins()
    assert read({"model_type": "llama"}) == "AcmeLlamaBackbone"
    assert read({"model_type": "gamma_llama"}) == "GammaLlamaBackbone"
    assert not list(clashes())
    assert read({"model_type": "llama"}, type("GammaLlamaBackbone", (), {})) == "GammaLlamaBackbone"
    monkeypatch.setenv("VERTEBRA_PREFER", "gamma")
    reload_plugins()
    assert read({"model_type": "llama"}) == "GammaLlamaBackbone"


PACK = """
from vertebra import PresetSpec, hookimpl

@hookimpl
def vertebra_presets():
    names = {"ours": "BetaLlamaBackbone", "gone": "GoneBackbone"}
    return [PresetSpec(name, "file://FOLDER", 1, backbone=backbone) for name, backbone in names.items()]
"""


@pytest.mark.parametrize("prefer", ["none*", "acme"])
def test_a_built_in_id_is_of_the_architecture_that_it_names(read, install, prefer, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme,beta,pack")
    monkeypatch.setenv("VERTEBRA_PREFER", prefer)
    install("pack", PACK.replace("FOLDER", str(tmp_path)))
    assert read({"model_type": "llama"}, preset="ours") == "BetaLlamaBackbone"
    assert read({"model_type": "beta_llama"}, preset="ours") == "BetaLlamaBackbone"
    assert read({"model_type": "llama"}, type("AcmeLlamaBackbone", (), {}), "ours") == "AcmeLlamaBackbone"
    for command in ("inspect", "plan"):
        assert main([command, "gone"]) == 1
        assert "It is the backbone of the preset 'gone' of pack. Install the plugin" in capsys.readouterr().err


def test_a_config_without_a_model_type_is_of_the_architecture_that_the_id_names(install, monkeypatch, tmp_path):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "one,pack")
    install(
        "one",
        PLUGIN.format(name="BetaLlamaBackbone", own="llama", module="one").replace('"llama", "llama"', '"llama",'),
    )
    install("pack", PACK.replace("FOLDER", str(tmp_path)))
    (tmp_path / "config.json").write_text(json.dumps({"layers": 3}))
    description = read_description(open_folder("ours"))
    assert description.arguments == {"layers": 3}
    assert "read as 'llama' because of the class" in description.notes[0]


def test_a_config_without_a_model_type_is_settled_alike(read, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PREFER", "beta")
    assert read({"architectures": ["LlamaForCausalLM"]}) == "BetaLlamaBackbone"


def test_an_own_name_is_no_clash(read):
    assert read({"model_type": "beta_llama"}) == "BetaLlamaBackbone"


def test_names_that_can_be_read_are_listed_once(read):
    with pytest.raises(PresetConfigError, match=r"can be read: acme_llama, beta_llama, llama. "):
        read({"model_type": "lama"})


def test_a_translation_that_cannot_be_imported_is_an_error_of_its_plugin(read, install, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "gone")
    install("gone", PLUGIN.format(name="GoneBackbone", own="gone", module="a_module_that_is_missing"))
    with pytest.raises(PluginError, match=r"Plugin gone: the translation of GoneBackbone, a_module_.*ModuleNotFound"):
        read({"model_type": "gone"})


def test_the_clash_is_reported(capsys):
    claims = ["AcmeLlamaBackbone of acme 1.0 (acme)", "BetaLlamaBackbone of beta 1.0 (beta)"]
    assert list(clashes()) == [(identifiers("transformers").kind, "llama", claims)]
    main(["plugins"])
    warned = (
        f"transformers architecture name llama is claimed by {' and '.join(claims)}; choose one with VERTEBRA_PREFER"
    )
    assert warned in capsys.readouterr().err
