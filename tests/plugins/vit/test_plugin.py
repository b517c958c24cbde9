"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

import re

import pytest

from vertebra import PresetHandle, Translation
from vertebra.specs import resolve_reference
from vertebra_vit import plugin

SPECS = plugin.vertebra_backbones()
PRESETS = [preset for spec in SPECS for preset in spec.presets]
FORMATS = {
    "ViTBackbone": {"transformers": ("vit",), "kerashub": ("keras_hub>ViTBackbone",)},
    "DINOV2Backbone": {
        "transformers": ("dinov2", "dinov2_with_registers"),
        "kerashub": ("keras_hub>DINOV2Backbone",),
    },
}
SHAPE = re.compile(r"(\d+) layers of width (\d+); patches of (\d+) × \d+ pixels of (\d+)")


def parameters(name, layers, width, patch, image, text):
    """Returns the number of parameters of a backbone for square images with three channels."""
    embeddings = 3 * patch**2 * width + width + ((image // patch) ** 2 + 2) * width
    if not name.startswith("dinov2"):
        hidden = 4 * width if width != 1280 else 5120
        pooler = width**2 + width if "pooler" in text else 0
        return (
            embeddings
            + layers * (4 * (width**2 + width) + 2 * width * hidden + hidden + 5 * width)
            + 2 * width
            + pooler
        )
    tokens = width + (4 * width if "registers" in name else 0)  # that of the mask, and registers
    attention = 4 * (width**2 + width) + 6 * width  # with norms and scales
    swiglu = (8 * width // 3 + 7) // 8 * 8
    mlp = 2 * (width + 1) * swiglu + (swiglu + 1) * width if "giant" in name else 8 * width**2 + 5 * width
    return embeddings + tokens + layers * (attention + mlp) + 2 * width


def test_each_class_has_its_formats():
    found = {spec.name: {name: format.identifiers for name, format in spec.formats.items()} for spec in SPECS}
    assert found == FORMATS
    translations = [format.translation for spec in SPECS for format in spec.formats.values()]
    assert all(issubclass(resolve_reference(name), Translation) for name in translations)
    assert all(spec.backbone == f"vertebra_vit.backbone:{spec.name}" for spec in SPECS)


def test_no_preset_is_listed_twice():
    assert len({preset.name for preset in PRESETS}) == len({preset.handle for preset in PRESETS}) == len(PRESETS)
    handles = [handle for preset in PRESETS for handle in (preset.handle, *preset.copies)]
    assert all(str(PresetHandle.parse(handle)) == handle for handle in handles)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_parameters_are_those_of_layers_width_and_patches(preset):
    numbers = map(int, SHAPE.match(preset.description).groups())
    assert preset.parameters == parameters(preset.name, *numbers, preset.description)


@pytest.mark.parametrize("module", ["kerashub", "plugin", "presets", "transformers"])
def test_contributes_without_a_framework(module, python):
    heavy = "{'numpy', 'keras', 'torch', 'jax', 'h5py'}"
    code = f"import sys, vertebra_vit.{module}; print(sorted({heavy} & set(sys.modules)))"
    assert python(["-c", code], text=True, timeout=60).stdout == "[]\n"
