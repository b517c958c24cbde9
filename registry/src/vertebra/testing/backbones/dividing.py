"""Rules for the layout, by which the weights are divided among devices."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import keras
import pytest

from vertebra._weights.layer_paths import layer_paths
from vertebra.specs import BackboneSpec
from vertebra.testing.backbones.comparing import largest_difference
from vertebra.testing.backbones.files import DIVIDED, FILES, FileRules, Stored
from vertebra.testing.rules import rule

_NO_LAYOUT = "the architecture declares no layout"


class LayoutRules(FileRules):
    """Rules for the layout."""

    @rule("BB-22")
    def test_its_layout_divides_the_layers_of_its_roles(self, backbone: Any, spec: BackboneSpec) -> None:
        """Each rule of the layout names the layers of the LoRA role of its name, and an argument that counts units."""
        if not spec.layout:
            pytest.skip(_NO_LAYOUT)
        paths = list(layer_paths(backbone))
        for each in spec.layout:
            assert type(getattr(backbone, each.units, None)) is int, f"{each.role}: units {each.units!r}"
            if each.role in backbone.lora_roles:  # other configurations may have the others
                named = _matching(paths, each.layers)
                assert named, f"{each.role} matches no layer"
                assert named == _matching(paths, backbone.lora_roles[each.role]), f"layers of {each.role}"

    @rule("BB-23")
    def test_a_divided_backbone_computes_the_same(
        self, stored: Stored, spec: BackboneSpec, entry_module: str, tolerance: float
    ) -> None:
        """With its weights divided between two devices by the layout, it computes the same, on jax."""
        if not spec.layout:
            pytest.skip(_NO_LAYOUT)
        if keras.config.backend() != "jax":
            pytest.skip("a process has several virtual devices on jax only")
        found = stored.computed_on("jax", entry_module, FILES, DIVIDED)
        assert largest_difference(found, stored.outputs[DIVIDED]) <= tolerance


def _matching(paths: list[str], globs: Any) -> list[str]:
    return [path for path in paths if any(fnmatchcase(path, glob) for glob in globs)]
