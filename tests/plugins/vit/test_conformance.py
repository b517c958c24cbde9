"""The rules for architectures, for ViT and DINOv2."""

import pytest

from vertebra.testing import BackboneSuite
from vertebra_vit import plugin

pytestmark = pytest.mark.keras

SIZES = {"image_shape": (12, 12, 3), "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}


class TestViT(BackboneSuite):
    @pytest.fixture
    def spec(self):
        return plugin.vertebra_backbones()[0]

    @pytest.fixture
    def arguments(self):
        return SIZES | {"mlp_dim": 24, "pooler": True}

    @pytest.fixture
    def format_arguments(self):
        return {"kerashub": {"pooler": False}}

    @pytest.fixture
    def lengths(self):
        return (0, 4, 7, 24)  # pixels: a part of a patch is not used

    @pytest.fixture
    def without_gradient(self):
        return ("*/key/bias",)  # adds the same to all scores of a query


class TestDINOV2(TestViT):
    @pytest.fixture
    def spec(self):
        return plugin.vertebra_backbones()[1]

    @pytest.fixture
    def arguments(self):
        registers = {"num_register_tokens": 3, "use_swiglu_ffn": True, "antialias_in_interpolation": True}
        return SIZES | {"intermediate_dim": 32} | registers

    @pytest.fixture
    def format_arguments(self):
        return {}
