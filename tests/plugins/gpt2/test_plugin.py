"""What the GPT-2 plugin contributes: its presets are KerasHub's, to the id, the address and the parameter."""

import json
import re
from pathlib import Path

import pytest

from vertebra import PresetHandle, Translation
from vertebra.specs import resolve_reference
from vertebra_gpt2 import plugin
from vertebra_gpt2.presets import PRESETS

# Ids, addresses and parameter counts as KerasHub's registry states them.
FACTS = json.loads(Path(__file__).with_name("presets.json").read_text(encoding="utf-8"))
MODULES = ("plugin", "presets", "transformers", "kerashub")


@pytest.fixture
def spec():
    (only,) = plugin.vertebra_backbones()
    return only


def test_the_presets_are_kerashubs():
    assert {preset.name: {"params": preset.parameters, "handle": preset.handle} for preset in PRESETS} == FACTS


def test_no_preset_stands_twice():
    assert len({preset.name for preset in PRESETS}) == len({preset.handle for preset in PRESETS}) == len(PRESETS)


def test_descriptions_have_the_size_that_the_parameters_have():
    for preset in PRESETS:
        layers, width = map(int, re.match(r"(\d+) layers of width (\d+); \w", preset.description).groups())
        assert preset.parameters == (50257 + 1024 + 2) * width + layers * (12 * width**2 + 13 * width)


def test_every_address_is_a_handle():
    assert [str(PresetHandle.parse(preset.handle)) for preset in PRESETS] == [preset.handle for preset in PRESETS]


def test_the_spec_names_the_class_and_its_presets(spec):
    assert spec.name == "GPT2Backbone"
    assert spec.backbone.endswith(":GPT2Backbone")
    assert spec.presets == PRESETS


@pytest.mark.parametrize(
    ("format", "identifiers"),
    [("transformers", ("gpt2",)), ("kerashub", ("keras_hub>GPT2Backbone", "keras_nlp>GPT2Backbone"))],
)
def test_foreign_formats_are_translated(spec, format, identifiers):
    assert spec.formats[format].identifiers == identifiers
    assert issubclass(resolve_reference(spec.formats[format].translation), Translation)


@pytest.mark.parametrize("module", MODULES)
def test_contributes_without_a_framework(module, python):
    heavy = "{'numpy', 'keras', 'torch', 'jax', 'h5py'}"
    code = f"import sys, vertebra_gpt2.{module}; print(sorted({heavy} & set(sys.modules)))"
    assert python(["-c", code], text=True, timeout=60).stdout == "[]\n"
