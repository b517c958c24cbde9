"""Built-in presets load from Kaggle by their ids, on every runtime."""

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

VARIATION = "keras/bert/keras/bert_tiny_en_uncased"
VERSION = 3


@pytest.fixture
def published(kaggle, cache, golden):
    """Kaggle with the preset that KerasHub wrote, as the version that the built-in id names; returns the server."""
    for version in range(1, VERSION + 1):
        files = {path.name: path for path in (golden / "kerashub").iterdir()}
        kaggle.publish(VARIATION, {**files, "version.txt": str(version).encode()})
    return kaggle


def test_a_builtin_id_loads(published, golden, run):
    found = run(vertebra.Backbone.from_preset("bert_tiny_en_uncased"))
    expected = run(vertebra.Backbone.from_preset(golden / "kerashub"))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in found)


def test_the_class_knows_it(published):
    backbone = vertebra.models.BertBackbone.from_preset("bert_tiny_en_uncased", load_weights=False)
    assert backbone.hidden_dim == 16
    assert [request.path.rpartition("/")[2] for request in published.storage.requests] == ["config.json"]


def test_what_is_here_asks_nobody(published, monkeypatch):
    vertebra.Backbone.from_preset("bert_tiny_en_uncased")
    published.clear(), published.storage.clear()
    backbone = vertebra.Backbone.from_preset("bert_tiny_en_uncased")
    assert published.requests == published.storage.requests == []
    assert backbone.count_params() == 6_656


def test_the_newest_version_is_meant_without_one(published, run):
    handle = f"kaggle://{VARIATION}"
    published.publish(VARIATION, published.files(VARIATION))
    assert vertebra.Backbone.from_preset(handle).hidden_dim == 16
    versions = {request.path for request in published.storage.requests}
    assert any(path.endswith("model.weights.h5") for path in versions)


def test_a_preset_is_published_and_comes_back(kaggle, cache, log_in, tmp_path, backbone, values):
    log_in(kaggle.users["acme"])
    backbone.save_to_preset(tmp_path / "mine")
    published = vertebra.upload_preset("kaggle://acme/bert/keras/mine", tmp_path / "mine")
    assert str(published) == "kaggle://acme/bert/keras/mine/1"
    assert "README.md" in kaggle.files("acme/bert/keras/mine")
    loaded = vertebra.Backbone.from_preset("kaggle://acme/bert/keras/mine")
    assert all(np.array_equal(value, values(loaded)[name]) for name, value in values(backbone).items())
