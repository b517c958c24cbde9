"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

import re

import pytest

from vertebra import Translation
from vertebra.specs import resolve_reference
from vertebra_mpnet import plugin

SPECS = plugin.vertebra_backbones()
PRESETS = [preset for spec in SPECS for preset in spec.presets]
FORMATS = {"MPNetBackbone": {"transformers": ("mpnet",)}}


def parameters(rows, layers, width):
    """Returns the number of parameters of a backbone whose tables have a number of rows."""
    layer, biases, pooler = 12 * width**2 + 13 * width, 32 * 12, width**2 + width
    return (rows + 514 + 2) * width + layers * layer + biases + pooler


def test_each_class_has_its_formats():
    found = {spec.name: {name: format.identifiers for name, format in spec.formats.items()} for spec in SPECS}
    assert found == FORMATS
    translations = [format.translation for spec in SPECS for format in spec.formats.values()]
    assert all(issubclass(resolve_reference(name), Translation) for name in translations)
    assert all(spec.backbone == f"vertebra_mpnet.backbone:{spec.name}" for spec in SPECS)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_parameters_are_those_of_layers_width_and_tables(preset):
    layers, width = map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
    assert preset.parameters == parameters(ROWS[preset.name], layers, width)


ROWS = dict.fromkeys(("mpnet_base", "all_mpnet_base_v2"), 30527)
"""Number of tokens."""
