"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

import re

import pytest

from vertebra import Translation
from vertebra.specs import resolve_reference
from vertebra_modernbert import plugin

SPECS = plugin.vertebra_backbones()
PRESETS = [preset for spec in SPECS for preset in spec.presets]
FORMATS = {"ModernBertBackbone": {"transformers": ("modernbert",)}}


def parameters(rows, layers, width):
    """Returns the number of parameters of a backbone whose tables have a number of rows."""
    vocabulary, inner = rows
    layer = 4 * width**2 + 3 * width * inner + 2 * width
    return vocabulary * width + layers * layer + width  # the first layer has one norm less


def test_each_class_has_its_formats():
    found = {spec.name: {name: format.identifiers for name, format in spec.formats.items()} for spec in SPECS}
    assert found == FORMATS
    translations = [format.translation for spec in SPECS for format in spec.formats.values()]
    assert all(issubclass(resolve_reference(name), Translation) for name in translations)
    assert all(spec.backbone == f"vertebra_modernbert.backbone:{spec.name}" for spec in SPECS)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_parameters_are_those_of_layers_width_and_tables(preset):
    layers, width = map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
    assert preset.parameters == parameters(ROWS[preset.name], layers, width)


ROWS = dict.fromkeys((preset.name for preset in PRESETS), (50368, 1152)) | {"modernbert_large": (50368, 2624)}
"""Number of tokens, and width of the feed-forward layers."""
