"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

from contributions import ContributionSuite
from vertebra_modernbert import plugin

FORMATS = {"ModernBertBackbone": {"transformers": ("modernbert",)}}
_OF_BASE = ("modernbert_base", "gte_modernbert_base", "gte_reranker_modernbert_base", "modernbert_embed_base")
ROWS = dict.fromkeys(_OF_BASE, (50368, 1152)) | {"modernbert_large": (50368, 2624)}
"""Number of tokens, and width of the feed-forward layers."""


class TestModernBert(ContributionSuite):
    plugin, formats, rows = plugin, FORMATS, ROWS

    def parameters(self, rows, layers, width):
        vocabulary, inner = rows
        layer = 4 * width**2 + 3 * width * inner + 2 * width
        return vocabulary * width + layers * layer + width  # the first layer has one norm less
