"""What the BERT plugin contributes: presets with KerasHub's ids, addresses and parameters, and translations."""

import json
import re
from pathlib import Path

import pytest

from vertebra import Translation
from vertebra.specs import resolve_reference
from vertebra_bert import plugin
from vertebra_bert.presets import PRESETS

# Ids, addresses and parameter counts as KerasHub's registry states them.
FACTS = json.loads(Path(__file__).with_name("presets.json").read_text(encoding="utf-8"))


@pytest.fixture
def spec():
    bert, _ = plugin.vertebra_backbones()
    return bert


def test_presets_of_kerashub_have_its_facts():
    found = {preset.name: {"params": preset.parameters, "handle": preset.handle} for preset in PRESETS if preset.copies}
    assert found == FACTS


def test_other_presets_are_on_hugging_face():
    others = [preset for preset in PRESETS if not preset.copies]
    assert all(preset.handle.startswith("hf://") for preset in others)
    assert all(re.search(r"; (Apache-2.0|MIT|AFL-3.0)$", preset.description) for preset in others)


def test_presets_of_electra_have_the_parameters_of_kerashub():
    electra = plugin.vertebra_backbones()[1].presets
    assert [preset.parameters for preset in electra] == [13_548_800, 109_482_240, 335_141_888]


def test_descriptions_have_the_size_that_the_parameters_have():
    for preset in PRESETS:
        layers, width = map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
        rest = preset.parameters - layers * (12 * width**2 + 13 * width) - width**2 - width  # layers and pooler
        rows, remainder = divmod(rest, width)
        assert (remainder, 20_000 < rows < 251_000) == (0, True), preset  # tokens, positions, segments and a norm


def test_the_spec_names_the_class_and_its_presets(spec):
    assert spec.name == "BertBackbone"
    assert spec.backbone.endswith(":BertBackbone")
    assert spec.presets == PRESETS


def test_the_transformers_format_is_translated(spec):
    assert spec.formats["transformers"].identifiers == ("bert",)
    assert issubclass(resolve_reference(spec.formats["transformers"].translation), Translation)


def test_kerashubs_format_is_translated_by_its_present_name_and_its_old_one(spec):
    assert spec.formats["kerashub"].identifiers == ("keras_hub>BertBackbone", "keras_nlp>BertBackbone")
    assert issubclass(resolve_reference(spec.formats["kerashub"].translation), Translation)
