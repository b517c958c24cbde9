"""Adapters load from Kaggle as they do from a folder, and are published there."""

import pytest

import vertebra
from vertebra.errors import AdapterNotFoundError, PresetExistsError

pytestmark = pytest.mark.keras(once=True)

VARIATION = "acme/bert/keras/lora"


@pytest.fixture(autouse=True)
def logged_in(kaggle, log_in, cache, monkeypatch):
    log_in(kaggle.users["acme"])
    monkeypatch.setattr("vertebra_kaggle.uploading._PAUSE", 0.0)


@pytest.mark.parametrize("name", ["peft_lora", "kerashub_lora.lora.h5"])
def test_what_is_published_loads_from_there(kaggle, backbone, golden, name):
    handle = vertebra.upload_preset(f"kaggle://{VARIATION}", golden / name)
    receipt = backbone.load_lora_weights(f"kaggle://{VARIATION}")
    assert receipt.source == str(handle) == f"kaggle://{VARIATION}/1"
    with pytest.raises(PresetExistsError):
        vertebra.upload_preset(f"kaggle://{VARIATION}", golden / "peft_dora")


def test_subfolders_are_named_though_no_handle_leads_there(kaggle, backbone, golden):
    files = {f"legal/{path.name}": path.read_bytes() for path in (golden / "peft_lora").iterdir()}
    kaggle.publish(VARIATION, files)
    with pytest.raises(AdapterNotFoundError, match="subfolders legal; this source has no handles of folders") as caught:
        backbone.load_lora_weights(f"kaggle://{VARIATION}")
    assert caught.value.suggestions == []
