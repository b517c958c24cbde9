"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

import re

import pytest

from vertebra import Translation
from vertebra.specs import resolve_reference
from vertebra_roberta import plugin

SPECS = plugin.vertebra_backbones()
PRESETS = [preset for spec in SPECS for preset in spec.presets]
FORMATS = {
    "RobertaBackbone": {
        "transformers": ("roberta",),
        "kerashub": ("keras_hub>RobertaBackbone", "keras_nlp>RobertaBackbone"),
    },
    "XLMRobertaBackbone": {
        "transformers": ("xlm-roberta",),
        "kerashub": ("keras_hub>XLMRobertaBackbone", "keras_nlp>XLMRobertaBackbone"),
    },
    "CamembertBackbone": {"transformers": ("camembert",)},
}


def parameters(rows, layers, width):
    """Returns the number of parameters of a backbone whose tables have a number of rows."""
    vocabulary, positions, pooler = rows
    layer = 12 * width**2 + 13 * width
    return (vocabulary + positions + 2) * width + layers * layer + (width**2 + width if pooler else 0)


def test_each_class_has_its_formats():
    found = {spec.name: {name: format.identifiers for name, format in spec.formats.items()} for spec in SPECS}
    assert found == FORMATS
    translations = [format.translation for spec in SPECS for format in spec.formats.values()]
    assert all(issubclass(resolve_reference(name), Translation) for name in translations)
    assert all(spec.backbone == f"vertebra_roberta.backbone:{spec.name}" for spec in SPECS)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_parameters_are_those_of_layers_width_and_tables(preset):
    layers, width = map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
    assert preset.parameters == parameters(ROWS[preset.name], layers, width)


ROWS = {
    "roberta_base_en": (50265, 512, False),
    "roberta_large_en": (50265, 512, False),
    "all_distilroberta_v1": (50265, 515, True),
    "twitter_roberta_base_sentiment_latest": (50265, 515, True),
    "xlm_roberta_base_multi": (250002, 512, False),
    "xlm_roberta_large_multi": (250002, 512, False),
    "bge_m3": (250002, 8192, False),
    "multilingual_e5_base": (250002, 512, False),
    "multilingual_e5_large": (250002, 512, False),
    "paraphrase_multilingual_mpnet_base_v2": (250002, 515, True),
    "snowflake_arctic_embed_l_v2.0": (250002, 8195, True),
    "bge_reranker_base": (250002, 515, True),
    "bge_reranker_large": (250002, 515, True),
    "bge_reranker_v2_m3": (250002, 8195, True),
    "camembert_base": (32005, 515, True),
}
"""Number of tokens, number of positions and segments, and whether there is a pooler."""
