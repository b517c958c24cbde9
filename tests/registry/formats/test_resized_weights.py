"""A class resizes weights whose shape an override of the config changes, when a preset is loaded or converted."""

import json

import numpy as np
import pytest

import vertebra
from vertebra._presets.convert import convert_preset
from vertebra.errors import PluginError, WeightsMismatchError

pytestmark = pytest.mark.keras(once=True)

POSITIONS = "positions/embeddings"
TOLD = "positions/embeddings was resized from (1, 5, 16) to (1, 10, 16), as the arguments say"


def nearest(cls, name, value, shape):
    """Repeats positions; `seen` are the calls."""
    cls.seen.append((name, value.dtype, value.shape, shape))
    return np.resize(value, shape) if name == POSITIONS else None


@pytest.fixture
def resizing(documented_vit, monkeypatch):
    """Returns a function that sets the class's method, and returns the class."""

    def set_method(method):
        network = vertebra.models.AcmeViTBackbone
        monkeypatch.setattr(network, "seen", [], raising=False)
        monkeypatch.setattr(network, "resize_weight", classmethod(method))
        return network

    return set_method


@pytest.fixture
def preset(documented_vit, tmp_path):
    """Returns a function that saves a preset of 5 positions in a format, and returns its folder and positions."""

    def save(format="native", dtype=None):
        network = vertebra.models.AcmeViTBackbone(8, 4, 16, 1, 2, 24, dtype=dtype)
        network.save_to_preset(tmp_path / "preset", format=format)
        return tmp_path / "preset", positions(network)

    return save


def positions(backbone):
    return np.asarray(backbone.get_layer("positions").embeddings.value.detach().float().cpu(), "float32")


@pytest.mark.parametrize("format", ["native", "transformers"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_load_resizes_and_tells(preset, resizing, caplog, format, dtype):
    folder, before = preset(format, dtype)
    network = resizing(nearest)
    loaded = network.from_preset(folder, size=12, dtype=dtype)
    np.testing.assert_array_equal(positions(loaded), np.resize(before, (1, 10, 16)))
    assert network.seen == [(POSITIONS, np.dtype("float32"), (1, 5, 16), (1, 10, 16))]
    assert TOLD in caplog.text


def test_nothing_is_resized_without_need(preset, resizing, caplog):
    folder, before = preset()
    network = resizing(nearest)
    np.testing.assert_array_equal(positions(network.from_preset(folder)), before)
    np.testing.assert_array_equal(positions(network.from_preset(folder, size=8)), before)
    assert network.seen == []
    assert "resized" not in caplog.text


@pytest.mark.parametrize("format", ["native", "transformers"])
def test_a_conversion_resizes_and_tells(preset, resizing, tmp_path, format):
    folder, before = preset()
    network = resizing(nearest)
    done = convert_preset(folder, tmp_path / "large", format, overrides={"size": 12})
    assert TOLD in done.notes
    assert not done.certificate
    config = json.loads((tmp_path / "large" / "config.json").read_text())
    assert 12 in config.get("config", config).values()
    again = network.from_preset(tmp_path / "large")
    np.testing.assert_array_equal(positions(again), np.resize(before, (1, 10, 16)))


def test_a_weight_that_the_class_does_not_resize_is_refused_as_before(preset, resizing):
    folder, _ = preset()
    network = resizing(nearest)
    with pytest.raises(WeightsMismatchError, match="block_0_down/kernel"):
        network.from_preset(folder, hidden=32)
    with pytest.raises(WeightsMismatchError, match="block_1_up/kernel"):  # missing, and not of another shape
        network.from_preset(folder, depth=2, size=12)


def test_a_preset_with_other_weights_than_its_config_says_is_refused(preset, resizing):
    folder, _ = preset()
    config = json.loads((folder / "config.json").read_text())
    config["config"]["size"] = 16
    (folder / "config.json").write_text(json.dumps(config))
    network = resizing(nearest)
    for overrides in ({}, {"size": 12}):
        with pytest.raises(WeightsMismatchError, match=POSITIONS):
            network.from_preset(folder, **overrides)
    assert positions(network.from_preset(folder, size=8)).shape == (1, 5, 16)
    assert network.seen == []


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (lambda cls, name, value, shape: value, r"returned positions/embeddings in the shape \(1, 5, 16\), expected"),
        (lambda cls, name, value, shape: 1 / 0, r"failed for positions/embeddings \(ZeroDivisionError"),
        (lambda cls, name, value, shape: "no", r"failed for positions/embeddings \(ValueError"),
    ],
)
def test_a_failing_method_is_named(preset, resizing, method, told):
    folder, _ = preset()
    with pytest.raises(PluginError, match=rf"Plugin acme_vit: AcmeViTBackbone\.resize_weight {told}"):
        resizing(method).from_preset(folder, size=12)
