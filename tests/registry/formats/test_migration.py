"""Native presets of other versions of a plugin: old ones are migrated, newer ones refused, and both name the plugin."""

import json
import shutil
import sys

import keras
import numpy as np
import pytest

import vertebra
from vertebra._discovery import catalog, plugins
from vertebra._discovery.backbone_classes import backbone_class
from vertebra._presets.convert import convert_preset
from vertebra.errors import PluginError, PresetConfigError

pytestmark = pytest.mark.keras

PLUGIN = """
from vertebra import BackboneSpec, hookimpl

@hookimpl
def vertebra_backbones():
    return [BackboneSpec("AcmeNet", "acme_network:AcmeNet", **{spec})]

def migrate(arguments, version):
    return {{"depth": arguments["depth"], "width": arguments["dim"]}}, {{
        f"block_{{i}}": f"layer_{{i}}" for i in range(arguments["depth"])
    }}

def fail(arguments, version):
    return arguments["nothing"]

def wrong(arguments, version):
    return arguments
"""


NETWORK = """
import keras
import vertebra

class AcmeNet(vertebra.Backbone):
    def __init__(self, depth: int, {argument}: int, dtype=None, **others):
        x = inputs = keras.Input(({argument},), name="x")
        for i in range(depth):
            x = keras.layers.Dense({argument}, dtype=dtype, name=f"{layer}_{{i}}")(x)
        arguments = {{"depth": depth, "{argument}": {argument}}}
        super().__init__(inputs=inputs, outputs=x, arguments=arguments, dtype=dtype, **others)
"""
"""The class of a release, which names the width and the layers."""


@pytest.fixture
def released(install, reload_plugins, monkeypatch):
    """Returns a function that replaces the installed release of the plugin, and returns its class."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # one release follows the other within a second
    installed = []

    def release(number, argument="dim", layer="block", **spec):
        for folder in installed:
            shutil.rmtree(folder)
        installed[:] = [install("acme-net", PLUGIN.format(spec=spec), version=number, api=("1",))]
        network = installed[0].with_name("acme_network.py")
        network.write_text(NETWORK.format(argument=argument, layer=layer))
        for module in ("acme_net", "acme_network"):
            sys.modules.pop(module, None)
        reload_plugins()
        return backbone_class("AcmeNet")

    return release


@pytest.fixture
def x():
    return np.random.default_rng(0).random((2, 3), "float32")


@pytest.fixture
def old(released, tmp_path, x):
    """A preset of release 1.0, with an adapter, and its outputs."""
    backbone = released("1.0")(depth=2, dim=3)
    backbone.enable_lora(1, ["block_*"], seed=0)
    for variable in backbone.trainable_weights:
        variable.assign(variable + 0.5)
    backbone.save_to_preset(tmp_path / "old")
    return tmp_path / "old", keras.ops.convert_to_numpy(backbone(x))


def block(configure):
    """Leaves out the plugin, as if it were not installed."""
    configure(VERTEBRA_BLOCK="acme-net")
    plugins.registry.cache_clear()
    catalog.clear_catalog()


def metadata(folder):
    return json.loads((folder / "metadata.json").read_text())


def test_a_preset_names_its_plugin_and_no_version_of_a_class_that_never_changed(old):
    folder, _ = old
    assert metadata(folder)["plugin"] == {"distribution": "acme-net", "version": "1.0"}
    assert json.loads((folder / "config.json").read_text()).keys() == {"vertebra_format", "backbone", "config"}


def test_a_newer_release_loads_what_an_older_one_wrote(old, released, tmp_path, x):
    folder, expected = old
    released("2.0", "width", "layer", version=2, migrate="acme_net:migrate")
    again = vertebra.Backbone.from_preset(folder, verify=True)
    assert (again.width, sorted(again.lora_adapters["default"].layers)) == (3, ["layer_0", "layer_1"])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(again(x)), expected, atol=1e-6)
    again.save_to_preset(tmp_path / "new")
    assert json.loads((tmp_path / "new" / "config.json").read_text())["backbone_version"] == 2
    newest = vertebra.Backbone.from_preset(tmp_path / "new")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(newest(x)), expected, atol=1e-6)


@pytest.mark.keras(once=True)
def test_a_conversion_writes_the_present_version(released, tmp_path):
    released("1.0")(depth=1, dim=3).save_to_preset(tmp_path / "old")
    released("2.0", "width", "layer", version=2, migrate="acme_net:migrate")
    convert_preset(tmp_path / "old", tmp_path / "new")
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert (config["backbone_version"], config["config"]["width"]) == (2, 3)
    assert metadata(tmp_path / "new")["plugin"]["version"] == "2.0"


@pytest.mark.keras(once=True)
def test_quantised_layers_are_renamed(released, tmp_path, x):
    backbone = released("1.0")(depth=1, dim=3)
    backbone.quantize("int8", filters="block_0")
    backbone.save_to_preset(tmp_path / "old")
    released("2.0", "width", "layer", version=2, migrate="acme_net:migrate")
    again = vertebra.Backbone.from_preset(tmp_path / "old")
    assert again.get_layer("layer_0").quantization_mode == "int8"
    np.testing.assert_array_equal(again.predict(x), backbone.predict(x))


@pytest.mark.keras(once=True)
def test_a_preset_of_a_newer_release_names_both(released, tmp_path):
    released("2.0", "width", "layer", version=2)(depth=1, width=3).save_to_preset(tmp_path / "new")
    released("1.0")
    with pytest.raises(PresetConfigError) as caught:
        vertebra.Backbone.from_preset(tmp_path / "new")
    assert "written for version 2 of AcmeNet, by acme-net 2.0, and the installed acme-net 1.0" in str(caught.value)
    assert "pip install --upgrade 'acme-net>=2.0'" in str(caught.value)


@pytest.mark.keras(once=True)
def test_a_release_that_cannot_migrate_names_the_one_that_wrote_it(released, tmp_path):
    released("1.0")(depth=1, dim=3).save_to_preset(tmp_path / "old")
    released("2.0", "width", "layer", version=2)
    with pytest.raises(PresetConfigError, match=r"without a function to migrate it.*pip install 'acme-net==1\.0'"):
        vertebra.Backbone.from_preset(tmp_path / "old")


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("fail", r"acme_net:fail failed, for arguments of version 1 \(KeyError: 'nothing'\)"),
        ("wrong", "acme_net:wrong returned {.*}, expected a dict of arguments, and a dict of new names"),
        ("missing", "acme_net:missing failed, .*AttributeError"),
    ],
)
def test_a_failing_migration_is_the_plugin_s_fault(released, tmp_path, function, told):
    released("1.0")(depth=1, dim=3).save_to_preset(tmp_path / "old")
    released("2.0", "width", "layer", version=2, migrate=f"acme_net:{function}")
    with pytest.raises(PluginError, match=f"Plugin acme-net: {told}"):
        vertebra.Backbone.from_preset(tmp_path / "old")


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("version", [0, "2", 1.5, True, None])
def test_a_version_is_a_positive_int(old, version):
    folder, _ = old
    config = json.loads((folder / "config.json").read_text()) | {"backbone_version": version}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PresetConfigError, match=r"backbone_version is .*, expected an int of at least 1"):
        vertebra.Backbone.from_preset(folder)


@pytest.mark.keras(once=True)
def test_without_the_plugin_the_error_says_how_to_install_it(old, configure, monkeypatch):
    folder, _ = old
    block(configure)
    monkeypatch.setattr("vertebra._discovery.distributions.is_installed", lambda distribution: False)
    with pytest.raises(PresetConfigError) as caught:
        vertebra.Backbone.from_preset(folder)
    told = "It was written with the plugin acme-net 1.0; if you trust it, install it with: pip install 'acme-net==1.0'"
    assert told in str(caught.value)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "writer", [None, 1, {}, {"distribution": "x; rm -rf ~", "version": "1"}, {"distribution": "x"}]
)
def test_a_preset_that_names_no_plugin_is_refused_as_before(old, configure, writer):
    folder, _ = old
    (folder / "metadata.json").write_text(json.dumps(metadata(folder) | {"plugin": writer}))
    block(configure)
    with pytest.raises(PresetConfigError, match="Install the plugin that provides it"):
        vertebra.Backbone.from_preset(folder)
