"""Azure Blob Storage, by Microsoft's emulator behind a proxy."""

import os

import pytest

from vertebra import PresetHandle
from vertebra.errors import PresetAccessError, PresetExistsError, PresetNotFoundError, SettingsError
from vertebra.testing import opened
from vertebra_s3.source import AzureSource


@pytest.fixture
def source(azure, cache):
    return AzureSource()


def test_a_large_file_is_sent_in_blocks(source, azure_destination, write):
    """They are committed at once."""
    files = {"config.json": b"{}", "model.safetensors": os.urandom(2**20) * 9}
    pinned = source.upload(azure_destination, write(files), False, "message")
    assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == files["model.safetensors"]


def test_of_two_presets_the_first_stays(source, azure_destination, write):
    source.upload(azure_destination, write({"config.json": b"{}"}), False, "one")
    with pytest.raises(PresetExistsError, match="another preset is already there"):
        source.upload(azure_destination, write({"config.json": b"[]"}), False, "two")


def test_a_container_that_does_not_exist_is_an_error(source, write):
    with pytest.raises(PresetNotFoundError, match="has no bucket 'missing'"):
        source.resolve_snapshot(PresetHandle("az", "missing/bert"))
    with pytest.raises(PresetNotFoundError, match="has no bucket 'missing'"):
        source.upload(PresetHandle("az", "missing/bert"), write({"config.json": b"{}"}), False, "message")


def test_a_key_that_is_none_is_named(source, azure_destination, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "no key!")
    with pytest.raises(SettingsError, match=r"does not accept the settings \(.*AZURE_STORAGE_ACCOUNT_KEY\)") as raised:
        source.resolve_snapshot(azure_destination)
    assert "no key!" not in str(raised.value)


def test_a_wrong_key_is_an_error(source, azure_destination, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm8tc2VjcmV0")
    with pytest.raises(PresetAccessError, match=r"HTTP 403.*AZURE_STORAGE_ACCOUNT_KEY"):
        source.resolve_snapshot(azure_destination)
