"""Arguments of public functions that are not of their type: an error that names them, and nothing is changed."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import vertebra
from vertebra import _arguments
from vertebra.errors import ArgumentError, PresetNotFoundError

pytestmark = pytest.mark.keras(once=True)

NO_FLAGS = ["no", "False", "", 0, 1, None, [], np.array([True, False])]


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_a_switch_is_a_bool(value):
    assert _arguments.flag("f", "x", value) is bool(value)


@pytest.mark.parametrize("value", NO_FLAGS, ids=repr)
def test_nothing_else_is(value):
    with pytest.raises(ArgumentError, match=r"f: x=.*, expected True or False") as caught:
        _arguments.flag("f", "x", value)
    assert (caught.value.function, caught.value.argument, caught.value.expected) == ("f", "x", "True or False")
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("name", ["load_weights", "verify", "locked"])
def test_from_preset_takes_no_text_for_a_switch(name, golden):
    with pytest.raises(ArgumentError, match=f"from_preset: {name}='no'"):
        vertebra.Backbone.from_preset(golden / "transformers", **{name: "no"})


@pytest.mark.parametrize("preset", [None, 5, True, b"bert", ["bert"], Path])
def test_a_preset_is_a_text_a_path_or_a_handle(preset):
    with pytest.raises(ArgumentError, match=r"preset=.*expected a string or a path"):
        vertebra.Backbone.from_preset(preset)


def test_a_handle_is_a_preset(golden):
    handle = vertebra.PresetHandle("file", str(golden / "transformers"))
    assert vertebra.Backbone.from_preset(handle).num_layers == 2


@pytest.mark.parametrize("runtime", [5, True, "", ["torch"]])
def test_a_runtime_is_a_name(runtime):
    with pytest.raises(ArgumentError, match="runtime="):
        vertebra.use(runtime)


def test_what_is_saved_has_switches_too(backbone, tmp_path):
    with pytest.raises(ArgumentError, match="certificate='no'"):
        backbone.save_to_preset(tmp_path / "preset", certificate="no")
    with pytest.raises(ArgumentError, match="replace='no'"):
        vertebra.upload_preset(tmp_path / "preset", tmp_path, replace="no")
    with pytest.raises(ArgumentError, match="uri=5"):
        vertebra.upload_preset(5, tmp_path)
    with pytest.raises(ArgumentError, match="preset_dir=5"):
        vertebra.upload_preset(tmp_path / "preset", 5)
    with pytest.raises(ArgumentError, match="message=5"):
        vertebra.upload_preset(tmp_path / "preset", tmp_path, message=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("assets", [None, 0, 3.5, "", b"bert", ["tokenizer.json"], Path])
def test_assets_are_a_switch_or_a_preset(backbone, tmp_path, assets):
    expected = (ArgumentError, PresetNotFoundError) if assets == "" else ArgumentError
    with pytest.raises(expected, match=r"assets=|neither a built-in preset id"):
        backbone.save_to_preset(tmp_path / "preset", assets=assets)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 5, True, b"x", ""])
def test_a_path_is_a_text_or_a_path(backbone, golden, path):
    backbone.enable_lora(1)
    calls = [
        lambda: backbone.save_to_preset(path),
        lambda: backbone.save_lora_weights(path),
        lambda: backbone.load_lora_weights(path),
        lambda: vertebra.load_model(path),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match="path="):
            call()


def test_adapters_have_names_and_switches(backbone, tmp_path):
    for name in (None, 5, ""):
        with pytest.raises(ArgumentError, match="name="):
            backbone.enable_lora(1, name=name)
    assert backbone.lora_adapters == {}
    backbone.enable_lora(1)
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    for switch in ("check_base", "strict"):
        with pytest.raises(ArgumentError, match=f"{switch}='no'"):
            backbone.load_lora_weights(tmp_path / "adapter.safetensors", **{switch: "no"})
    with pytest.raises(ArgumentError, match="name=5"):
        backbone.load_lora_weights(tmp_path / "adapter.safetensors", name=5)
    with pytest.raises(ArgumentError, match="reversible='no'"):
        backbone.merge_lora(reversible="no")
    for rate in (True, "0.1", -1.0, float("nan")):
        with pytest.raises(ArgumentError, match="learning_rate="):
            vertebra.lora.parameter_groups(backbone, rate)


def test_a_backbone_trains_or_does_not(arguments):
    with pytest.raises(ArgumentError, match="BertBackbone: trainable='no'"):
        vertebra.models.BertBackbone(**arguments, trainable="no")


@pytest.mark.parametrize("model", [None, 5, "bert", keras.layers.Dense(1)])
def test_what_is_compiled_is_a_model(model):
    with pytest.raises(ArgumentError, match="compile: backbone="):
        vertebra.compile(model)


@pytest.mark.parametrize("name", [None, 5, ""])
def test_a_plugin_that_is_added_has_a_name(name):
    with pytest.raises(ArgumentError, match="add_plugin: name="):
        vertebra.add_plugin(sys.modules[__name__], name)


def test_values_of_numpy_become_python_s():
    value = {"a": np.array([[1], [2]]), "b": [np.float64(0.5), (np.bool_(True), "x")], "c": range(2)}
    plain = _arguments.plain(value)
    assert plain == {"a": [[1], [2]], "b": [0.5, [True, "x"]], "c": range(2)}
    assert type(plain["b"][0]) is float
