"""The rules for backbones, on a model so small that each test takes a moment."""

from typing import Any

import pytest
from vertebra import BackboneSpec
from vertebra.testing import BackboneSuite

from example_plugin import vertebra_backbones


class TestExamplePlugin(BackboneSuite):
    @pytest.fixture
    def spec(self) -> BackboneSpec:
        (spec,) = vertebra_backbones()
        return spec

    @pytest.fixture
    def arguments(self) -> dict[str, Any]:
        # Sizes that differ from each other: two tensors of one shape could be swapped without an error.
        return {
            "vocabulary_size": 29,
            "num_layers": 2,
            "num_heads": 4,
            "num_key_value_heads": 2,
            "hidden_dim": 16,
            "intermediate_dim": 24,
            "rotary_base": 500.0,
            "epsilon": 1e-5,
        }
