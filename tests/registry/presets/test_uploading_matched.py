"""Uploading where Keras is loaded: every weight is compared with the architecture."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra.errors import PresetConfigError, WeightsMismatchError

pytestmark = pytest.mark.keras


@pytest.fixture
def preset(backbone, tmp_path):
    backbone.save_to_preset(tmp_path / "preset")
    return tmp_path / "preset"


def test_a_saved_backbone_is_uploaded_and_loads(preset, backbone, run, tmp_path):
    vertebra.upload_preset(tmp_path / "copy", preset)
    again = vertebra.Backbone.from_preset(tmp_path / "copy", verify=True)
    assert np.array_equal(run(again)["sequence_output"], run(backbone)["sequence_output"])
    assert "BertBackbone" in (tmp_path / "copy" / "README.md").read_text()


@pytest.mark.parametrize("change", ["missing", "unused", "reshaped"])
def test_weights_of_another_architecture_are_refused(preset, tmp_path, change):
    weights = load_file(preset / "model.safetensors")
    name = next(iter(weights))
    if change == "unused":
        weights["more"] = weights[name]
    else:
        array = weights.pop(name)
        weights |= {name: array[:-1]} if change == "reshaped" else {}
    save_file(weights, preset / "model.safetensors")
    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.upload_preset(tmp_path / "copy", preset)
    assert getattr(caught.value, change)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("argument", ["num_layers", "hidden_dim", "no_such_argument"])
def test_a_config_of_another_architecture_is_refused(preset, tmp_path, argument):
    config = json.loads((preset / "config.json").read_text())
    config["config"][argument] = 2 * config["config"].get(argument, 1)
    (preset / "config.json").write_text(json.dumps(config))
    with pytest.raises((WeightsMismatchError, PresetConfigError)):
        vertebra.upload_preset(tmp_path / "copy", preset)
    assert not (tmp_path / "copy").exists()


def test_the_command_compares_shapes_whatever_is_loaded(preset, tmp_path, child, runtime):
    weights = load_file(preset / "model.safetensors")
    name = next(name for name in weights if weights[name].ndim > 1)
    save_file(weights | {name: weights[name][:-1]}, preset / "model.safetensors")
    code = "import sys; from vertebra.cli import main; sys.exit(main(['push', *sys.argv[1:]]) != 1)"
    child(code, preset, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
