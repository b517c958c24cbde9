"""The suite that every format of presets must pass.

class TestMyFormat(FormatSuite):
    @pytest.fixture
    def format(self):
        (format,) = my_plugin.vertebra_formats()
        return format
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import vertebra
from vertebra._discovery.checks import check_format
from vertebra.hookspecs import hookimpl
from vertebra.interfaces import PresetFormat
from vertebra.specs import BackboneSpec, FormatSpec
from vertebra.testing.backbones.comparing import computed, largest_difference
from vertebra.testing.backbones.inputs import disturb
from vertebra.testing.plugins import PluginSuite, entry_module_of
from vertebra.testing.rules import rule
from vertebra.testing.tiny import TinyBackbone
from vertebra.translations import TensorRule, Translation

IDENTIFIER = "tiny_of_this_format"
_FIELDS = {
    "tokens": 32,
    "width": 8,
    "rate": 0.1,
    "tied": False,
    "limit": None,
    "label": "é",
    "sizes": [1, [2, 3]],
    "rotary": {"base": 1e6, "factors": [1.0, 2.5]},
    "empty": {},
}
"""Fields of all kinds that an architecture may have."""
_FOREIGN: tuple[dict[str, Any], ...] = ({}, {"model_type": "acme"}, {"class_name": "X", "config": {}}, {"a": [1, {}]})
"""Configs that are in no contributed format."""
_VALUES: tuple[Any, ...] = (None, 1, 1.5, True, "", [], {}, [[]], {"": None})
"""Values that a field of a damaged or hostile config may have."""


class TinyTranslation(Translation):
    """The translation of `TinyBackbone` to the format under test."""

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {"vocabulary_size": config["tokens"], "width": config["width"], "num_layers": 1}

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"tokens": arguments["vocabulary_size"], "width": arguments["width"]}

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        kernel = TensorRule("encoder.dense.weight", transpose=True)
        rules = {"dense_0/kernel": kernel, "dense_0/bias": TensorRule("encoder.dense.bias")}
        return rules | {"token_embedding/embeddings": TensorRule("encoder.tokens.weight")}


class FormatSuite(PluginSuite):
    """Tests of a format. Give the subclass a name that pytest collects, and define the fixture `format`."""

    # === Fixtures ===

    @pytest.fixture
    def format(self) -> PresetFormat:
        """The format, as the plugin contributes it."""
        raise NotImplementedError

    @pytest.fixture
    def entry_module(self, format: PresetFormat, tested_modules: set[str]) -> str:
        """Name of the module that contributes the format."""
        return entry_module_of("vertebra_formats", format.name, tested_modules)

    @pytest.fixture
    def light_references(self, format: PresetFormat) -> Sequence[str]:
        """The class of the format."""
        return [f"{type(format).__module__}:{type(format).__name__}"]

    @pytest.fixture
    def document(self, format: PresetFormat) -> dict[str, Any]:
        """A config of this format."""
        return format.config(IDENTIFIER, copy.deepcopy(_FIELDS))

    @pytest.fixture
    def tiny(self, format: PresetFormat) -> Iterator[Any]:
        """A tiny backbone of an architecture that is translated to the format."""
        formats = {format.name: FormatSpec((IDENTIFIER,), f"{__name__}:TinyTranslation")}
        spec = BackboneSpec("TinyBackbone", "vertebra.testing.tiny:TinyBackbone", formats=formats)
        plugin = ModuleType("tiny_of_this_format")
        plugin.vertebra_backbones = hookimpl(lambda: [spec], specname="vertebra_backbones")  # type: ignore[attr-defined]
        vertebra.add_plugin(plugin, IDENTIFIER)
        backbone = TinyBackbone()
        disturb(backbone.weights)
        yield backbone
        vertebra.remove_plugin(IDENTIFIER)

    # === Rules ===

    @rule("FM-01")
    def test_its_name_can_be_a_folder(self, format: PresetFormat) -> None:
        """The name has lower-case letters, digits, `-` and `_`, and configs have a mark by which they are known."""
        check_format("the plugin", format)

    @rule("FM-02")
    def test_it_reads_what_it_writes(self, format: PresetFormat, document: dict[str, Any]) -> None:
        """`identifier` and `fields` return what `config` was given, after a way through JSON."""
        again = json.loads(json.dumps(document))
        assert again == document
        assert format.identifier(again) == IDENTIFIER
        fields = dict(format.fields(again))
        assert {name: fields.get(name) for name in _FIELDS} == _FIELDS
        assert again == document, "reading changes the config"

    @rule("FM-03")
    def test_configs_of_other_formats_are_not_its_own(self, format: PresetFormat) -> None:
        """`identifier` returns None for configs of other formats."""
        assert [config for config in _FOREIGN if format.identifier(config) is not None] == []

    @rule("FM-04")
    def test_damaged_configs_do_not_make_it_fail(self, format: PresetFormat, document: dict[str, Any]) -> None:
        """`identifier` returns a text or None for any JSON object, and raises nothing."""
        for damaged in _damaged(document):
            identifier = format.identifier(damaged)
            assert identifier is None or isinstance(identifier, str), damaged

    @rule("FM-05")
    def test_a_preset_loads_and_computes_the_same(self, format: PresetFormat, tiny: Any, tmp_path: Path) -> None:
        """A preset that is saved in the format is recognised, and loads with the same outputs."""
        tiny.save_to_preset(tmp_path / "preset", format=format.name)
        again = vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
        sample = tiny.sample_inputs()
        assert largest_difference(computed(again, sample), computed(tiny, sample)) <= 1e-6
        assert format.identifier(json.loads((tmp_path / "preset" / "config.json").read_text())) == IDENTIFIER


def _damaged(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields configs in which one field is missing or has another type, at any depth."""
    for name, value in document.items():
        yield {other: each for other, each in document.items() if other != name}
        yield from ({**document, name: wrong} for wrong in _VALUES)
        if isinstance(value, dict):
            yield from ({**document, name: inner} for inner in _damaged(value))
