"""Loads that require a signature: of a backbone and of an adapter."""

import shutil

import numpy as np
import pytest

import vertebra
from vertebra._configuration.settings import settings
from vertebra._presets.publish import SigningKey, upload
from vertebra.errors import SignatureError

from .conftest import GOLDEN

pytestmark = pytest.mark.keras(once=True)


@pytest.fixture
def required(monkeypatch, keys):
    """Requires our signature in the settings."""
    monkeypatch.setenv("VERTEBRA_REQUIRE_SIGNATURE", "1")
    monkeypatch.setenv("VERTEBRA_SIGNATURE_KEYS", str(keys / "ours.pub"))
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def signed(preset, keys, tmp_path):
    upload(tmp_path / "signed", preset, signing=SigningKey(keys / "ours.pem"))
    return tmp_path / "signed"


def test_a_signed_preset_loads_as_any_other(signed, required, preset):
    expected = vertebra.Backbone.from_preset(signed)
    settings.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VERTEBRA_REQUIRE_SIGNATURE")
        found = vertebra.Backbone.from_preset(preset)
    settings.cache_clear()
    for one, other in zip(expected.weights, found.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_an_unsigned_preset_is_refused_before_its_config_is_parsed(preset, required):
    (preset / "config.json").write_text("not JSON")
    with pytest.raises(SignatureError, match=r"it has no signature, a file model\.sig"):
        vertebra.Backbone.from_preset(preset)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_changed_file_is_refused_before_it_is_parsed(signed, required, name):
    (signed / name).write_bytes(b"{")
    with pytest.raises(SignatureError, match="is not the signed file"):
        vertebra.Backbone.from_preset(signed)


def test_a_load_without_weights_checks_the_config(signed, required):
    assert vertebra.Backbone.from_preset(signed, load_weights=False)
    (signed / "config.json").write_text("{}")
    with pytest.raises(SignatureError):
        vertebra.Backbone.from_preset(signed, load_weights=False)


def test_adapters_must_be_signed_too(signed, required, keys, tmp_path):
    backbone = vertebra.Backbone.from_preset(signed)
    adapter = shutil.copytree(GOLDEN / "peft_lora", tmp_path / "adapter")
    with pytest.raises(SignatureError):
        backbone.load_lora_weights(adapter)
    upload(tmp_path / "signed_adapter", adapter, signing=SigningKey(keys / "ours.pem"))
    backbone.load_lora_weights(tmp_path / "signed_adapter")
    assert vertebra.lora.adapters(backbone)


def test_a_converted_preset_has_no_signature_of_its_source(signed, tmp_path):
    vertebra.Backbone.from_preset(signed).save_to_preset(tmp_path / "own")
    assert not (tmp_path / "own" / "model.sig").exists()
    assert (tmp_path / "own" / "more" / "file.txt").is_file()


def test_a_save_over_a_signed_preset_removes_its_signature(signed):
    vertebra.Backbone.from_preset(signed).save_to_preset(signed)
    assert not (signed / "model.sig").exists()
    assert (signed / "more" / "file.txt").is_file()
