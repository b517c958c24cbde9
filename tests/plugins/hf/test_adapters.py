"""Adapters load from the hub as they do from a folder, and are published there."""

import json
from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra._lora.files.describe import describe_adapter
from vertebra.errors import AdapterNotFoundError, OfflineError, PresetNotFoundError

pytestmark = pytest.mark.keras(once=True)


@pytest.fixture
def publish(hub, cache, golden):
    """Publishes PEFT's adapters, each in its folder of one repository; returns the commit."""

    def publish(*names, repo="acme/lora", prefix="{}/"):
        paths = {f"{prefix.format(name)}{path.name}": path for name in names for path in (golden / name).iterdir()}
        return hub.commit(repo, paths | {"README.md": b"# Adapters"})

    return publish


def requested(hub):
    """Returns the names of the requested files."""
    return {request.path.rpartition("/")[2] for request in hub.requests if "/resolve/" in request.path}


def test_an_adapter_computes_the_same_as_from_a_folder(publish, backbone, golden, run, hub):
    backbone.load_lora_weights(golden / "peft_lora")
    expected = run(backbone)["sequence_output"]
    backbone.unload_lora()
    commit = publish("peft_lora", prefix="")
    receipt = backbone.load_lora_weights("hf://acme/lora")
    assert np.array_equal(run(backbone)["sequence_output"], expected)
    assert receipt.source == f"hf://acme/lora@{commit}"
    assert requested(hub) == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_folder_of_a_repository_is_suggested_and_loads(publish, backbone):
    commit = publish("peft_lora", "peft_dora")
    with pytest.raises(AdapterNotFoundError) as caught:
        backbone.load_lora_weights("hf://acme/lora")
    assert caught.value.suggestions == ["hf://acme/lora/peft_dora", "hf://acme/lora/peft_lora"]
    assert backbone.load_lora_weights(f"hf://acme/lora/peft_dora@{commit}").config.strategy == "dora"


def test_an_adapter_that_the_hubs_client_has_cached_loads_offline(publish, backbone, client, monkeypatch, hub):
    publish("peft_lora", prefix="")
    folder = client.snapshot_download("acme/lora", endpoint=hub.url)
    monkeypatch.setenv("VERTEBRA_OFFLINE", "1")
    vertebra._configuration.settings.settings.cache_clear()
    before = len(hub.requests)
    assert backbone.load_lora_weights("hf://acme/lora").source.startswith("hf://acme/lora@")
    assert len(hub.requests) == before
    assert Path(folder).is_dir()
    with pytest.raises(OfflineError):
        backbone.load_lora_weights("hf://acme/other")


def test_a_file_that_only_the_hub_may_have_is_missing_offline(publish, backbone, client, monkeypatch, hub):
    """The client's cache tells which files it has, and not whether these are all."""
    publish("peft_lora", prefix="")
    client.hf_hub_download("acme/lora", "adapter_config.json", endpoint=hub.url)
    monkeypatch.setenv("VERTEBRA_OFFLINE", "1")
    vertebra._configuration.settings.settings.cache_clear()
    with pytest.raises(OfflineError, match="vertebra pull"):
        backbone.load_lora_weights("hf://acme/lora")


def test_info_reads_the_header_only(publish, hub):
    publish("peft_lora", prefix="")
    assert describe_adapter("hf://acme/lora")["ranks"] == [4]
    assert all(
        request.headers.get("range") for request in hub.requests if request.path.endswith("adapter_model.safetensors")
    )


def test_what_is_published_loads_from_there(hub, cache, backbone, golden, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_goodgoodgoodgood")
    pinned = vertebra.upload_preset("hf://acme/mine", golden / "peft_lora")
    assert backbone.load_lora_weights("hf://acme/mine").source == str(pinned)
    assert b'library_name: "peft"' in hub.files("acme/mine")["README.md"]


def test_from_preset_tells_that_a_repository_is_an_adapter(publish):
    publish("peft_lora", prefix="")
    with pytest.raises(PresetNotFoundError, match=r"adapter of .*backbone\.load_lora_weights\('hf://acme/lora'\)"):
        vertebra.Backbone.from_preset("hf://acme/lora")


def test_the_folder_of_an_adapter_names_the_repository_and_commit_of_its_base(hub, cache, golden, tmp_path):
    files = {f"{folder}{path.name}": path for folder in ("", "inner/") for path in (golden / "transformers").iterdir()}
    commit = hub.commit("acme/minilm", files)
    named = {}
    for handle in ("hf://acme/minilm", "hf://acme/minilm/inner"):
        base = vertebra.Backbone.from_preset(handle)
        base.enable_lora(2)
        base.save_lora_weights(tmp_path / base.name)
        config = json.loads((tmp_path / base.name / "adapter_config.json").read_text())
        named[handle] = config["base_model_name_or_path"], config.get("revision")
        assert config["auto_mapping"]["base_model_class"] == "BertModel"
        assert base.load_lora_weights(tmp_path / base.name).base_model.endswith(f"@{commit}")
    assert named == {
        "hf://acme/minilm": ("acme/minilm", commit),
        "hf://acme/minilm/inner": (f"hf://acme/minilm/inner@{commit}", None),  # transformers has no name for it
    }
