"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

import re

import pytest

from vertebra import PresetHandle, Translation
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


def test_no_preset_is_listed_twice():
    assert len({preset.name for preset in PRESETS}) == len({preset.handle for preset in PRESETS}) == len(PRESETS)
    assert all(str(PresetHandle.parse(preset.handle)) == preset.handle for preset in PRESETS)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_parameters_are_those_of_layers_width_and_tables(preset):
    layers, width = map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
    assert preset.parameters == parameters(ROWS[preset.name], layers, width)


@pytest.mark.parametrize("module", ["plugin", "presets", "transformers"])
def test_contributes_without_a_framework(module, python):
    heavy = "{'numpy', 'keras', 'torch', 'jax', 'h5py'}"
    code = f"import sys, vertebra_mpnet.{module}; print(sorted({heavy} & set(sys.modules)))"
    assert python(["-c", code], text=True, timeout=60).stdout == "[]\n"


ROWS = dict.fromkeys(("mpnet_base", "all_mpnet_base_v2"), 30527)
"""Number of tokens."""
