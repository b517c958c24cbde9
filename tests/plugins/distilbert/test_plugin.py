"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

import re

import pytest

from vertebra import Translation
from vertebra.specs import resolve_reference
from vertebra_distilbert import plugin

SPECS = plugin.vertebra_backbones()
PRESETS = [preset for spec in SPECS for preset in spec.presets]
FORMATS = {
    "DistilBertBackbone": {
        "transformers": ("distilbert",),
        "kerashub": ("keras_hub>DistilBertBackbone", "keras_nlp>DistilBertBackbone"),
    }
}


def parameters(rows, layers, width):
    """Returns the number of parameters of a backbone whose tables have a number of rows."""
    return (rows + 512 + 2) * width + layers * (12 * width**2 + 13 * width)


def test_each_class_has_its_formats():
    found = {spec.name: {name: format.identifiers for name, format in spec.formats.items()} for spec in SPECS}
    assert found == FORMATS
    translations = [format.translation for spec in SPECS for format in spec.formats.values()]
    assert all(issubclass(resolve_reference(name), Translation) for name in translations)
    assert all(spec.backbone == f"vertebra_distilbert.backbone:{spec.name}" for spec in SPECS)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_parameters_are_those_of_layers_width_and_tables(preset):
    layers, width = map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
    assert preset.parameters == parameters(ROWS[preset.name], layers, width)


ROWS = {
    "distil_bert_base_en_uncased": 30522,
    "distil_bert_base_en": 28996,
    "distil_bert_base_multi": 119547,
    "distilbert_base_uncased_finetuned_sst_2_english": 30522,
    "distilbert_base_multilingual_cased_ner_hrl": 119547,
}
"""Number of tokens."""
