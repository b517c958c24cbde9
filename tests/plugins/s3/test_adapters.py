"""Presets and adapters load from a bucket as they do from a folder, whoever put them there."""

import pytest

import vertebra
from servers.conformance import PublishedSuite
from vertebra.errors import AdapterNotFoundError, PresetExistsError

pytestmark = pytest.mark.keras(once=True)


@pytest.fixture
def backbone(cache, backbone):
    return backbone


def test_an_adapter_of_another_tool(put, destination, backbone, golden):
    put(destination, {path.name: path.read_bytes() for path in (golden / "peft_lora").iterdir()})
    receipt = backbone.load_lora_weights(str(destination))
    assert receipt.config.rank == 4
    assert receipt.source.startswith(f"{destination}@list-")
    with pytest.raises(PresetExistsError):
        vertebra.upload_preset(destination, golden / "peft_dora")


class TestPublished(PublishedSuite):
    @pytest.fixture
    def new_handle(self, destination):
        return destination


def test_a_prefix_without_an_adapter(destination, put, backbone):
    put(destination, {"notes.txt": b"text"})
    with pytest.raises(AdapterNotFoundError, match=r"adapter_config\.json"):
        backbone.load_lora_weights(str(destination))
