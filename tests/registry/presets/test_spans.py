"""Spans of loads, adapters, saves and uploads, in the real SDK."""

import re
from pathlib import Path

import pytest

import vertebra
from recorded_spans import recorded_spans
from vertebra._discovery.runtimes import bound_backend
from vertebra.errors import PresetConfigError, PresetExistsError, PresetNotFoundError

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "telemetry.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.keras(once=True)


@pytest.fixture
def recorded():
    """Returns a function that returns the attributes of the spans that have ended, by their names."""
    with recorded_spans() as exporter:
        yield lambda: {one.name: dict(one.attributes) for one in exporter.get_finished_spans()}


def test_a_load_tells_architecture_format_dtype_and_runtime(golden, recorded):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dtype="bfloat16")
    assert recorded()["vertebra.load"] == {
        "vertebra.preset": "file:///…/transformers",
        "vertebra.architecture": type(backbone).__name__,
        "vertebra.format": "transformers",
        "vertebra.weights": True,
        "vertebra.dtype": "bfloat16",
        "vertebra.runtime": bound_backend(),
        "vertebra.parameters": backbone.count_params(),
        "vertebra.signed": False,
    }


def test_a_failed_load_tells_the_preset_and_the_kind_of_error(golden, recorded):
    with pytest.raises(PresetConfigError):
        vertebra.Backbone.from_preset(golden / "transformers", no_such_argument=1)
    assert recorded()["vertebra.load"] == {
        "vertebra.preset": "file:///…/transformers",
        "error.type": "PresetConfigError",
    }


def test_a_preset_that_is_not_found_is_named(recorded, tmp_path):
    with pytest.raises(PresetNotFoundError):
        vertebra.Backbone.from_preset(tmp_path / "gone")
    assert recorded()["vertebra.load"] == {"vertebra.preset": "gone", "error.type": "PresetNotFoundError"}


def test_a_failed_upload_names_the_target(golden, recorded, tmp_path):
    vertebra.upload_preset(tmp_path / "target", golden / "transformers_bf16")
    with pytest.raises(PresetExistsError):
        vertebra.upload_preset(tmp_path / "target", golden / "transformers")
    assert recorded()["vertebra.push"] == {
        "vertebra.preset": "file:///…/target",
        "vertebra.signed": False,
        "error.type": "PresetExistsError",
    }


def test_an_adapter_tells_strategy_rank_and_layers(golden, recorded, tmp_path):
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    receipt = backbone.enable_lora(4)
    expected = {
        "vertebra.strategy": "lora",
        "vertebra.rank": 4,
        "vertebra.layers": len(receipt.layers),
        "vertebra.parameters": receipt.parameters_added,
        "vertebra.runtime": bound_backend(),
    }
    assert recorded()["vertebra.adapt"] == expected
    backbone.save_lora_weights(tmp_path / "a.safetensors")
    other = vertebra.Backbone.from_preset(golden / "transformers")
    other.load_lora_weights(tmp_path / "a.safetensors")
    assert recorded()["vertebra.adapt"] == expected


def test_saves_and_uploads(golden, recorded, tmp_path):
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.save_to_preset(tmp_path / "own")
    saved = recorded()["vertebra.save"]
    assert (saved["vertebra.format"], saved["vertebra.architecture"]) == ("native", type(backbone).__name__)
    vertebra.upload_preset(tmp_path / "published", tmp_path / "own")
    pushed = recorded()["vertebra.push"]
    assert (pushed["vertebra.preset"], pushed["vertebra.signed"]) == ("file:///…/published", False)
    assert pushed["vertebra.bytes"] > 0
    values = [value for attributes in recorded().values() for value in attributes.values()]
    assert not any(str(tmp_path) in str(value) for value in values)


def test_the_page_has_each_span_and_attribute(golden, recorded, tmp_path):
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.enable_lora(4)
    backbone.save_to_preset(tmp_path / "own")
    vertebra.upload_preset(tmp_path / "published", tmp_path / "own")
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `vertebra.")]
    table = {row[1].strip(" `"): set(re.findall(r"`([a-z_]+)`", re.sub(r"\(.*?\)", "", row[3]))) for row in rows}
    for name, attributes in recorded().items():
        assert {attribute.removeprefix("vertebra.") for attribute in attributes} == table[name]
    assert table.keys() - recorded().keys() == {"vertebra.fetch", "vertebra.fetch.file"}
