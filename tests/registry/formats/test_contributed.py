"""Formats of plugins: presets are read, written, converted and described in them as in the built-in ones."""

import json
import sys
import types

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra import BackboneSpec, FormatSpec, PresetFormat, TensorRule, Translation
from vertebra._presets.convert import convert_preset
from vertebra.cli import main
from vertebra.errors import FormatLimitError, PluginError, PresetConfigError, PresetFormatError

pytestmark = pytest.mark.keras(once=True)

CONFIG = {"architecture": "net_a", "width": 3, "depth": 2, "num_classes": 0, "pretrained_cfg": {"mean": [0.5]}}


@keras.saving.register_keras_serializable("acme")
class NetBackbone(vertebra.Backbone):
    """Dense layers."""

    def __init__(self, width: int, depth: int, **kwargs):
        inputs = outputs = keras.Input((width,))
        for number in range(depth):
            outputs = keras.layers.Dense(width, use_bias=False, name=f"layer_{number}")(outputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments={"width": width, "depth": depth}, **kwargs)


class NetTranslation(Translation):
    """Names as in torch."""

    def arguments(self, config):
        if config["num_classes"]:
            raise PresetConfigError("config.json", f"num_classes is {config['num_classes']}, and heads are not read")
        return {"width": config["width"], "depth": config["depth"]}

    def config(self, arguments):
        if arguments["depth"] > 9:
            raise FormatLimitError("acme", "depth", arguments["depth"], "it has at most 9 layers")
        return {**arguments, "num_classes": 0}

    def rules(self, arguments):
        return {
            f"layer_{number}/kernel": TensorRule(f"layers.{number}.weight", transpose=True)
            for number in range(arguments["depth"])
        }


class AcmeFormat(PresetFormat):
    """A format whose mark is its field."""

    name = "acme"
    identifier_field = "architecture"


class NestedFormat(PresetFormat):
    """A format with an envelope."""

    name = "nested"

    def identifier(self, config):
        model = config.get("model")
        return model.get("kind") if isinstance(model, dict) else None

    def fields(self, config):
        return config["model"]["arguments"]

    def config(self, identifier, fields):
        return {"model": {"kind": identifier, "arguments": dict(fields)}, "schema": 2}


@pytest.fixture
def add(monkeypatch):
    """Adds a plugin with formats and the architecture for the test."""
    module = types.ModuleType("acme_formats")
    module.NetBackbone, module.NetTranslation = NetBackbone, NetTranslation
    monkeypatch.setitem(sys.modules, "acme_formats", module)
    spec = FormatSpec(("net_a", "net_b"), "acme_formats:NetTranslation")
    backbone = BackboneSpec("NetBackbone", "acme_formats:NetBackbone", formats={"acme": spec, "nested": spec})

    def add_plugin(*formats):
        module.vertebra_backbones = vertebra.hookimpl(specname="vertebra_backbones")(lambda: [backbone])
        module.vertebra_formats = vertebra.hookimpl(specname="vertebra_formats")(lambda: list(formats))
        vertebra.add_plugin(module, "acme", replace=True)

    yield add_plugin
    vertebra.remove_plugin("acme")


@pytest.fixture
def preset(tmp_path):
    """A preset as another library wrote it, and its matrices."""
    folder = tmp_path / "preset"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    tensors = {f"layers.{number}.weight": np.random.rand(3, 3).astype("float32") for number in range(2)}
    save_file(tensors, folder / "model.safetensors")
    (folder / "labels.txt").write_text("cat")
    return folder


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def test_a_preset_loads_and_is_saved_as_it_was(add, preset, tmp_path):
    add(AcmeFormat())
    tensors = load_file(preset / "model.safetensors")
    backbone = vertebra.Backbone.from_preset(preset)
    assert type(backbone) is NetBackbone
    x = np.ones((1, 3), "float32")
    expected = x @ tensors["layers.0.weight"].T @ tensors["layers.1.weight"].T
    assert np.allclose(keras.ops.convert_to_numpy(backbone(x)), expected, atol=1e-6)
    backbone.save_to_preset(tmp_path / "saved", format="acme")
    assert config_of(tmp_path / "saved") == CONFIG
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert {name: array.tolist() for name, array in saved.items()} == {n: a.tolist() for n, a in tensors.items()}
    assert (tmp_path / "saved" / "labels.txt").read_text() == "cat"


def test_ignored_fields_within_tables_are_kept(add, preset, tmp_path):
    add(NestedFormat())
    arguments = {"width": 3, "depth": 2, "num_classes": 0, "labels": {"0": "cat"}, "_private": 1}
    config = {"model": {"kind": "net_a", "arguments": arguments, "author": "acme"}, "schema": 2, "license": "mit"}
    (preset / "config.json").write_text(json.dumps(config))
    conversion = convert_preset(preset, tmp_path / "nested", "nested")
    assert list(conversion.assets.fields_left_out) == ["model.arguments._private"]
    del arguments["_private"]
    assert config_of(convert_preset(tmp_path / "nested", tmp_path / "native").target)["config"]["width"] == 3
    assert config_of(convert_preset(tmp_path / "native", tmp_path / "again", "nested").target) == config
    backbone = vertebra.Backbone.from_preset(tmp_path / "native", load_weights=False, depth=1)
    backbone.save_to_preset(tmp_path / "other", format="nested", assets=str(tmp_path / "nested"))
    arguments["depth"] = 1
    assert config_of(tmp_path / "other") == config


def test_around_other_formats_nothing_is_lost(add, preset, tmp_path):
    add(AcmeFormat(), NestedFormat())
    folder = preset
    for number, format in enumerate(("native", "nested", "acme", "acme")):
        folder = convert_preset(folder, tmp_path / str(number), format).target
    assert config_of(tmp_path / "1") == {
        "model": {"kind": "net_a", "arguments": {"width": 3, "depth": 2, "num_classes": 0}},
        "schema": 2,
    }
    assert config_of(folder) == CONFIG
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "2" / "model.safetensors").read_bytes()
    assert load_file(folder / "model.safetensors").keys() == load_file(preset / "model.safetensors").keys()


def test_a_preset_is_described_and_listed(add, preset, capsys):
    add(AcmeFormat())
    assert main(["inspect", str(preset), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format"], facts["backbone"], facts["parameters"]) == ("acme", "NetBackbone", 18)
    main(["formats", "--json"])
    rows = {row["name"]: row["distribution"] for row in json.loads(capsys.readouterr().out)}
    own = {"native": "vertebra", "transformers": "vertebra", "kerashub": "vertebra", "acme": "acme"}
    assert rows == own | {"gguf": "vertebra-gguf"}
    main(["backbones", "--json"])
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["name"] == "NetBackbone"]
    assert row["formats"] == ["native", "acme"]


def test_a_format_that_no_plugin_contributes_is_unknown(add, preset, tmp_path):
    add()
    with pytest.raises(PresetConfigError, match="model_type"):
        vertebra.Backbone.from_preset(preset)
    with pytest.raises(PresetFormatError, match=r"'acme' is not known.*native, transformers, kerashub\."):
        NetBackbone(3, 2).save_to_preset(tmp_path / "saved", format="acme")
    with pytest.raises(PresetFormatError, match=r"formats: native\."):
        NetBackbone(3, 2).save_to_preset(tmp_path / "saved", format="transformers")


def test_the_config_is_checked(add, preset, tmp_path):
    add(AcmeFormat())
    (preset / "config.json").write_text(json.dumps(CONFIG | {"architecture": "net_c"}))
    with pytest.raises(PresetConfigError, match=r"architecture 'net_c' is read by no .*can be read: net_a, net_b"):
        vertebra.Backbone.from_preset(preset)
    (preset / "config.json").write_text(json.dumps(CONFIG | {"num_classes": 2}))
    with pytest.raises(PresetConfigError, match="num_classes is 2"):
        vertebra.Backbone.from_preset(preset)
    with pytest.raises(FormatLimitError, match="depth=10"):
        NetBackbone(3, 10).save_to_preset(tmp_path / "saved", format="acme")


def test_a_config_of_two_formats_is_refused(add, preset):
    other = type("Other", (AcmeFormat,), {"name": "other"})
    add(AcmeFormat(), other())
    with pytest.raises(PresetConfigError, match=r"several formats: acme of acme .* and other of acme"):
        vertebra.Backbone.from_preset(preset)


def test_a_built_in_format_is_recognised_first(add, tmp_path, golden):
    add(type("Greedy", (AcmeFormat,), {"identifier": lambda self, config: "net_a"})())
    assert type(vertebra.Backbone.from_preset(golden / "transformers")).__name__ == "BertBackbone"


WRONG = {
    "identifier raises": {"identifier": lambda self, config: config["nothing"]},
    "identifier is no text": {"identifier": lambda self, config: 1},
    "fields raises": {"fields": lambda self, config: config["nothing"]},
    "fields is no mapping": {"fields": lambda self, config: None},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_format_that_fails_to_read_is_named(wrong, add, preset):
    add(type("Wrong", (AcmeFormat,), wrong)())
    with pytest.raises(PluginError, match=f"Plugin acme: {next(iter(wrong))} of its format acme (failed|returned)"):
        vertebra.Backbone.from_preset(preset)


@pytest.mark.parametrize("config", [lambda self, name, fields: None, lambda self, name, fields: dict(fields)])
def test_a_format_that_fails_to_write_is_named_and_writes_nothing(config, add, tmp_path):
    add(type("Wrong", (AcmeFormat,), {"config": config})())
    with pytest.raises(PluginError, match=r"format acme (writes a config that it does not read|returned None)"):
        NetBackbone(3, 2).save_to_preset(tmp_path / "saved", format="acme")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("name", ["Acme Format", "../x"])
def test_a_format_has_a_name_for_folders(name, add):
    with pytest.raises(PluginError, match="returned a format named"):
        add(type("Wrong", (AcmeFormat,), {"name": name})())


@pytest.mark.parametrize("fields", [{}, {"identifier_field": 1}, {"identifier": lambda self, config: "net_a"}])
def test_a_format_has_a_field_or_methods_that_name_the_architecture(fields, add):
    with pytest.raises(
        PluginError, match=r"format 'x', whose identifier_field is .* or.* define identifier and config"
    ):
        add(type("Wrong", (PresetFormat,), {"name": "x"} | fields)())


def test_a_nested_format_without_a_field_names_itself_in_errors(add, preset):
    add(NestedFormat())
    (preset / "config.json").write_text(json.dumps({"model": {"kind": "net_c", "arguments": {}}}))
    with pytest.raises(PresetConfigError, match=r"nested architecture 'net_c' is read by no installed backbone"):
        vertebra.Backbone.from_preset(preset)


def test_the_error_for_an_unknown_format_names_plugins_that_failed(add, preset, tmp_path, monkeypatch):
    add()
    told = "acme-format (it has no name)"
    monkeypatch.setattr("vertebra._presets.replace_folder.failed", lambda: [told])
    monkeypatch.setattr("vertebra._formats.model_type.failed", lambda: [told])
    with pytest.raises(PresetFormatError, match=r"that failed: acme-format \(it has no name\)\.") as caught:
        NetBackbone(3, 2).save_to_preset(tmp_path / "saved", format="acme")
    assert caught.value.failed == [told]
    with pytest.raises(PresetConfigError, match=r"that failed: acme-format \(it has no name\)\."):
        vertebra.Backbone.from_preset(preset)
