"""Presets and adapters are published, and load as from a folder."""

import numpy as np
import pytest

import vertebra
from vertebra import PresetHandle

pytestmark = pytest.mark.keras(once=True)


@pytest.fixture
def handle(service, token, cache):
    return PresetHandle("modelscope", "acme/new")


def test_a_preset_is_published_and_comes_back(handle, backbone, values, tmp_path):
    backbone.save_to_preset(tmp_path / "mine")
    published = vertebra.upload_preset(handle, tmp_path / "mine")
    assert vertebra.upload_preset(handle, tmp_path / "mine") == published
    loaded = vertebra.Backbone.from_preset(str(handle), verify=True)
    assert all(np.array_equal(value, values(loaded)[name]) for name, value in values(backbone).items())


def test_an_adapter_is_published_and_comes_back(handle, backbone, golden):
    published = vertebra.upload_preset(handle, golden / "peft_dora")
    assert backbone.load_lora_weights(str(handle)).source == str(published)
