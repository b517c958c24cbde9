"""Uploading where Keras is loaded: every weight is compared with the architecture."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra.errors import WeightsMismatchError

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
