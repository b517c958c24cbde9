"""Presets of all formats load from the hub as they do from a folder."""

import numpy as np
import pytest

import vertebra
from vertebra.errors import LockError

pytestmark = pytest.mark.keras

FORMATS = ["transformers", "transformers_sharded", "kerashub", "kerashub_sharded"]


@pytest.fixture
def publish(hub, cache, golden):
    """Publishes reference presets in one repository, each in its folder; returns the handle of one, with its commit."""

    def publish(name, folder=True):
        prefix = f"{name}/" if folder else ""
        sha = hub.commit("acme/bert", {f"{prefix}{path.name}": path for path in (golden / name).iterdir()})
        return f"hf://acme/bert{f'/{name}' if folder else ''}@{sha}"

    return publish


def names(server):
    """Returns the last segments of the requested paths."""
    return [request.path.rpartition("/")[2] for request in server.requests]


@pytest.mark.parametrize("format", FORMATS)
def test_a_preset_computes_what_it_does_from_a_folder(publish, golden, run, format):
    found = run(vertebra.Backbone.from_preset(publish(format)))
    expected = run(vertebra.Backbone.from_preset(golden / format))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in found)


def test_a_whole_repository_is_a_preset(publish, io, run):
    outputs = run(vertebra.models.BertBackbone.from_preset(publish("transformers", folder=False)))
    assert np.abs(outputs["sequence_output"] - io["transformers/sequence_output"]).max() <= 1e-5


@pytest.mark.keras(once=True)
def test_files_with_odd_names_do_not_keep_from_loading(hub, publish, io, run):
    publish("transformers", folder=False)
    odd = ["model.safetensors:Zone.Identifier", "run 12:30.log", "aux.txt", "README.md", "readme.md", "a."]
    sha = hub.commit("acme/bert", dict.fromkeys(odd, b"x"))
    outputs = run(vertebra.Backbone.from_preset(f"hf://acme/bert@{sha}"))
    assert np.abs(outputs["sequence_output"] - io["transformers/sequence_output"]).max() <= 1e-5


@pytest.mark.keras(once=True)
def test_the_folder_that_the_client_has_downloaded_is_a_local_preset(hub, client, publish, io, run, tmp_path):
    """Its files are links to blobs; those of the cache stay as they are when the folder is saved over."""
    publish("transformers", folder=False)
    folder = client.snapshot_download("acme/bert", endpoint=hub.url)
    blobs = {path: path.read_bytes() for path in (tmp_path / "home").glob("hub/*/blobs/*")}
    backbone = vertebra.Backbone.from_preset(folder)
    assert np.abs(run(backbone)["sequence_output"] - io["transformers/sequence_output"]).max() <= 1e-5
    backbone.save_to_preset(folder, format="transformers")
    assert {path: path.read_bytes() for path in blobs} == blobs


def test_only_what_is_needed_is_fetched(hub, publish):
    handle = publish("transformers")
    hub.commit("acme/bert", {"transformers/pytorch_model.bin": b"x" * 1000})
    vertebra.Backbone.from_preset(handle, load_weights=False)
    assert (len(names(hub)), names(hub)[1:]) == (2, ["config.json"])
    vertebra.Backbone.from_preset(handle)
    assert names(hub)[2:] == ["model.safetensors"]
    assert set(names(hub.storage)) == {"model.safetensors"}


def test_a_preset_that_is_pinned_and_here_costs_no_request(hub, publish):
    handle = publish("transformers")
    vertebra.Backbone.from_preset(handle)
    hub.clear()
    vertebra.Backbone.from_preset(handle)
    assert hub.requests == []


def test_a_branch_that_moves_is_followed_and_a_commit_stays(hub, publish, golden, run, values):
    first = publish("transformers", folder=False)
    kept = values(vertebra.Backbone.from_preset(first))
    hub.commit("acme/bert", {"model.safetensors": (golden / "transformers_bf16" / "model.safetensors")})
    again, moved = (values(vertebra.Backbone.from_preset(text)) for text in (first, "hf://acme/bert"))
    assert all(np.array_equal(kept[name], again[name]) for name in kept)
    assert any(not np.array_equal(kept[name], moved[name]) for name in kept)


def test_what_is_not_locked_is_refused(publish, monkeypatch, tmp_path):
    handle = publish("transformers")
    monkeypatch.setenv("VERTEBRA_LOCKFILE", str(tmp_path / "vertebra.lock"))
    with pytest.raises(LockError):
        vertebra.Backbone.from_preset(handle, locked=True)
