"""What the Gemma plugin contributes: its presets are KerasHub's, to the id, the address and the parameter."""

import json
import re
from pathlib import Path

import pytest

from vertebra import Translation
from vertebra.specs import resolve_reference
from vertebra_gemma import plugin

# Ids, addresses and parameter counts as KerasHub's registry states them.
FACTS = json.loads(Path(__file__).with_name("presets.json").read_text(encoding="utf-8"))


GEMMA3, EMBEDDING = "Gemma3Backbone", "embeddinggemma_300m"


@pytest.fixture(params=["GemmaBackbone", GEMMA3])
def spec(request):
    return next(spec for spec in plugin.vertebra_backbones() if spec.name == request.param)


def test_the_presets_are_kerashubs():
    presets = {preset.name: preset for spec in plugin.vertebra_backbones() for preset in spec.presets}
    assert presets.pop(EMBEDDING).handle.startswith("hf://google/")  # KerasHub's has dense layers after pooling
    assert {name: {"params": it.parameters, "handle": it.handle} for name, it in presets.items()} == FACTS


def test_descriptions_have_the_width_that_the_parameters_have(spec):
    for preset in spec.presets:
        layers, width = map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
        norms = layers * {5376: 2 * 128}.get(width, 2 * 256) if spec.name == GEMMA3 else 0  # of queries and keys
        assert (preset.parameters - norms) % width == 0
        assert 10 < layers < 65


def test_presets_of_gemma_3_state_their_licence():
    (gemma3,) = (spec for spec in plugin.vertebra_backbones() if spec.name == GEMMA3)
    assert all(preset.description.lower().endswith((" terms of use", " terms")) for preset in gemma3.presets)


def test_the_spec_names_its_class(spec):
    assert spec.backbone.endswith(f":{spec.name}")


@pytest.mark.parametrize(
    ("name", "identifiers"),
    [
        ("GemmaBackbone", {"transformers": ("gemma", "gemma2", "vaultgemma")}),
        ("GemmaBackbone", {"kerashub": ("keras_hub>GemmaBackbone", "keras_nlp>GemmaBackbone")}),
        (GEMMA3, {"transformers": ("gemma3_text", "gemma3")}),
        (GEMMA3, {"kerashub": ("keras_hub>Gemma3Backbone",)}),
    ],
    ids=str,
)
def test_formats_are_translated(name, identifiers):
    (spec,) = (spec for spec in plugin.vertebra_backbones() if spec.name == name)
    for format, expected in identifiers.items():
        assert spec.formats[format].identifiers == expected
        assert issubclass(resolve_reference(spec.formats[format].translation), Translation)


def test_caches_are_declared(spec):
    assert callable(resolve_reference(spec.cache))
