"""What the Gemma plugin contributes: its presets are KerasHub's, to the id, the address and the parameter."""

import json
import re
from pathlib import Path

import pytest

from vertebra import Translation
from vertebra.specs import resolve_reference
from vertebra_gemma import plugin
from vertebra_gemma.presets import PRESETS

# Ids, addresses and parameter counts as KerasHub's registry states them.
FACTS = json.loads(Path(__file__).with_name("presets.json").read_text(encoding="utf-8"))


@pytest.fixture
def spec():
    (only,) = plugin.vertebra_backbones()
    return only


def test_the_presets_are_kerashubs():
    assert {preset.name: {"params": preset.parameters, "handle": preset.handle} for preset in PRESETS} == FACTS


def test_descriptions_have_the_width_that_the_parameters_have():
    for preset in PRESETS:
        layers, width = map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
        assert preset.parameters % width == 0
        assert 10 < layers < 50


def test_the_spec_names_the_class_and_its_presets(spec):
    assert spec.name == "GemmaBackbone"
    assert spec.backbone.endswith(":GemmaBackbone")
    assert spec.presets == PRESETS


@pytest.mark.parametrize(
    ("format", "identifiers"),
    [
        ("transformers", ("gemma", "gemma2", "vaultgemma")),
        ("kerashub", ("keras_hub>GemmaBackbone", "keras_nlp>GemmaBackbone")),
    ],
)
def test_formats_are_translated(spec, format, identifiers):
    assert spec.formats[format].identifiers == identifiers
    assert issubclass(resolve_reference(spec.formats[format].translation), Translation)
