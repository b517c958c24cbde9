"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

from contributions import ContributionSuite
from vertebra_roberta import plugin

FORMATS = {
    "RobertaBackbone": {
        "transformers": ("roberta",),
        "kerashub": ("keras_hub>RobertaBackbone", "keras_nlp>RobertaBackbone"),
    },
    "XLMRobertaBackbone": {
        "transformers": ("xlm-roberta",),
        "kerashub": ("keras_hub>XLMRobertaBackbone", "keras_nlp>XLMRobertaBackbone"),
    },
    "CamembertBackbone": {"transformers": ("camembert",)},
}
ROWS = {
    "roberta_base_en": (50265, 512, False),
    "roberta_large_en": (50265, 512, False),
    "all_distilroberta_v1": (50265, 515, True),
    "twitter_roberta_base_sentiment_latest": (50265, 515, True),
    "xlm_roberta_base_multi": (250002, 512, False),
    "xlm_roberta_large_multi": (250002, 512, False),
    "bge_m3": (250002, 8192, False),
    "multilingual_e5_base": (250002, 512, False),
    "multilingual_e5_large": (250002, 512, False),
    "paraphrase_multilingual_mpnet_base_v2": (250002, 515, True),
    "snowflake_arctic_embed_l_v2.0": (250002, 8195, True),
    "bge_reranker_base": (250002, 515, True),
    "bge_reranker_large": (250002, 515, True),
    "bge_reranker_v2_m3": (250002, 8195, True),
    "camembert_base": (32005, 515, True),
}
"""Number of tokens, number of positions and segments, and whether there is a pooler."""


class TestRoberta(ContributionSuite):
    plugin, formats, rows = plugin, FORMATS, ROWS

    def parameters(self, rows, layers, width):
        vocabulary, positions, pooler = rows
        layer = 12 * width**2 + 13 * width
        return (vocabulary + positions + 2) * width + layers * layer + (width**2 + width if pooler else 0)
