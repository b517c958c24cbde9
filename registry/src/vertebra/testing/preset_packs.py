"""The suite for built-in presets: subclass `PresetPackSuite`, and define the fixture `presets`.

class TestMyPresets(PresetPackSuite):
    @pytest.fixture
    def presets(self):
        return my_plugin.vertebra_presets()
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from vertebra._discovery.catalog import BACKBONES, SOURCES, catalog
from vertebra._discovery.catalog import presets as all_presets
from vertebra._resolve.candidates import source_of
from vertebra.errors import PresetNotFoundError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetSpec
from vertebra.testing.plugins import PluginSuite, fail_if_not_used
from vertebra.testing.rules import rule

_ID = re.compile(r"\w[\w.-]*")


class PresetPackSuite(PluginSuite):
    """Tests of built-in presets, of a pack or of an architecture; no service is asked.

    Give the subclass a name that pytest collects, and define the fixture `presets`.
    """

    @pytest.fixture
    def presets(self) -> Sequence[PresetSpec]:
        """The presets, as the plugin contributes them."""
        raise NotImplementedError

    @pytest.fixture
    def entry_module(self, presets: Sequence[PresetSpec], tested_modules: set[str]) -> str:
        """Name of the module that contributes the presets."""
        assert presets, "the fixture `presets` is empty: there is nothing to test"
        found = all_presets()
        if presets[0].name not in found:
            fail_if_not_used(tested_modules)
            pytest.skip(f"no installed plugin contributes the preset {presets[0].name!r}")
        return found.lookup(presets[0].name).owner.module

    @rule("PP-01")
    def test_ids_are_names_of_their_own(self, presets: Sequence[PresetSpec]) -> None:
        """Ids are different, can be told from paths and handles, and no other plugin has them."""
        names = [preset.name for preset in presets]
        assert names, "the plugin has no presets"
        assert [name for name in names if names.count(name) > 1] == []
        assert [name for name in names if not _ID.fullmatch(name)] == []
        for preset in presets:
            assert all_presets().lookup(preset.name).value.handle == preset.handle  # raises if plugins clash

    @rule("PP-02")
    def test_handles_are_read_by_installed_sources(self, presets: Sequence[PresetSpec]) -> None:
        """Each handle and copy is valid, written in its plain form, and of the scheme of an installed source."""
        for preset in presets:
            for text in (preset.handle, *preset.copies):
                handle = PresetHandle.parse(text)
                assert str(handle) == text
                source_of(handle, text)  # raises if no source reads it, or not with this revision

    @rule("PP-03")
    def test_a_handle_has_one_id(self, presets: Sequence[PresetSpec]) -> None:
        """No two ids have the same handle."""
        handles = [preset.handle for preset in presets]
        assert [handle for handle in handles if handles.count(handle) > 1] == []

    @rule("PP-04")
    def test_architectures_are_installed(self, presets: Sequence[PresetSpec]) -> None:
        """Each preset is of an installed architecture, which the pack depends on."""
        for preset in presets:
            catalog(BACKBONES).lookup(all_presets().lookup(preset.name).value.backbone)

    @rule("PP-05")
    def test_listings_have_facts(self, presets: Sequence[PresetSpec]) -> None:
        """Each preset has its number of parameters, and a description in one line."""
        assert [preset.name for preset in presets if type(preset.parameters) is not int or preset.parameters < 1] == []
        assert [p.name for p in presets if not p.description or not p.description.isprintable()] == []

    @rule("PP-06")
    def test_local_presets_have_the_stated_parameters(self, presets: Sequence[PresetSpec]) -> None:
        """A preset of a local source, such as one in a package, is there, loads and has the stated parameters."""
        import vertebra

        local = [preset for preset in presets if not _source_of(preset.handle).is_remote]
        if not local:
            pytest.skip("all presets are of remote sources")
        for preset in local:
            _check_files(preset)
            backbone = vertebra.Backbone.from_preset(preset.name)
            assert backbone.count_params() == preset.parameters, preset.name


def _check_files(preset: PresetSpec) -> None:
    """Fails the test if a local source has no files of a preset; the failure names the path, if there is one."""
    handle, source = PresetHandle.parse(preset.handle), _source_of(preset.handle)
    where = ""
    try:
        path = source.transformers_name(handle)
        where = "" if path is None else f", at {path}"
        problem = "" if source.files(handle) else "it has no files"
    except PresetNotFoundError as error:
        problem = str(error)
    if problem:
        pytest.fail(f"preset {preset.name!r}{where}: {problem}")


def _source_of(text: str) -> Any:
    return catalog(SOURCES).lookup(PresetHandle.parse(text).scheme).value
