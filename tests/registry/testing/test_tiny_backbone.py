"""The tiny backbone of the kit passes the rules for backbones."""

import pytest

import vertebra
from vertebra.testing import BackboneSuite, tiny_plugin

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Adds the plugin."""
    vertebra.add_plugin(tiny_plugin, "tiny")
    yield
    vertebra.remove_plugin("tiny")


class TestTinyBackbone(BackboneSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = tiny_plugin.vertebra_backbones()
        return spec

    @pytest.fixture
    def arguments(self):
        return {"num_layers": 2}
