"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

from contributions import ContributionSuite
from vertebra_distilbert import plugin

FORMATS = {
    "DistilBertBackbone": {
        "transformers": ("distilbert",),
        "kerashub": ("keras_hub>DistilBertBackbone", "keras_nlp>DistilBertBackbone"),
    }
}
ROWS = {
    "distil_bert_base_en_uncased": 30522,
    "distil_bert_base_en": 28996,
    "distil_bert_base_multi": 119547,
    "distilbert_base_uncased_finetuned_sst_2_english": 30522,
    "distilbert_base_multilingual_cased_ner_hrl": 119547,
}
"""Number of tokens."""


class TestDistilBert(ContributionSuite):
    plugin, formats, rows = plugin, FORMATS, ROWS

    def parameters(self, rows, layers, width):
        return (rows + 512 + 2) * width + layers * (12 * width**2 + 13 * width)
