"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

from contributions import ContributionSuite
from vertebra_mpnet import plugin

FORMATS = {"MPNetBackbone": {"transformers": ("mpnet",)}}
ROWS = dict.fromkeys(("mpnet_base", "all_mpnet_base_v2"), 30527)
"""Number of tokens."""


class TestMPNet(ContributionSuite):
    plugin, formats, rows = plugin, FORMATS, ROWS

    def parameters(self, rows, layers, width):
        layer, biases, pooler = 12 * width**2 + 13 * width, 32 * 12, width**2 + width
        return (rows + 514 + 2) * width + layers * layer + biases + pooler
