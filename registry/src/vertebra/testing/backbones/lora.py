"""Rules for the layers that LoRA adapts."""

from __future__ import annotations

from typing import Any

import pytest

from vertebra.testing.backbones.comparing import computed, largest_difference, rows_of
from vertebra.testing.backbones.fixtures import NO_LAYERS, BackboneFixtures, Build, adapted, enabled
from vertebra.testing.backbones.inputs import disturb
from vertebra.testing.rules import rule


class LoraRules(BackboneFixtures):
    """Rules for roles, targets and adapters."""

    @rule("BB-12")
    def test_its_roles_name_layers(self, build: Build) -> None:
        """Each glob of each LoRA role matches layers of the model that LoRA adapts."""
        backbone = build()
        if not backbone.lora_roles:
            pytest.skip("the class declares no roles")
        for role in backbone.lora_roles:
            assert backbone.enable_lora(2, [role], name="role").layers  # raises if a glob matches none
            backbone.unload_lora("role")

    @rule("BB-13")
    def test_an_adapter_trains_alone(self, build: Build, inputs: Any, tolerance: float) -> None:
        """A new adapter changes no output, only its weights train, and its values change the outputs."""
        backbone = build()
        expected = computed(backbone, inputs)
        receipt = enabled(backbone, seed=0)
        if receipt is None:
            pytest.skip(NO_LAYERS)
        assert largest_difference(computed(backbone, inputs), expected) <= tolerance
        assert sum(variable.numpy().size for variable in backbone.trainable_weights) == receipt.parameters_added
        disturb(backbone.trainable_weights)
        assert largest_difference(computed(backbone, inputs), expected) > tolerance
        backbone.unload_lora()
        assert largest_difference(computed(backbone, inputs), expected) <= tolerance

    @rule("BB-14")
    def test_each_row_may_have_an_adapter(self, build: Build, inputs: Any, tolerance: float) -> None:
        """With an adapter for each row, a row has the outputs that it has with that adapter alone."""
        backbone = build()
        if not all(adapted(backbone, name=name, seed=0) for name in ("one", "other")):
            pytest.skip(NO_LAYERS)
        alone = {name: computed(backbone, inputs, adapters=[name] * 2) for name in ("one", "other", None)}
        for names in (("one", "other"), ("other", None)):
            found = computed(backbone, inputs, adapters=list(names))
            for row, name in enumerate(names):
                rows = slice(row, row + 1)
                assert largest_difference(rows_of(found, rows), rows_of(alone[name], rows)) <= tolerance
