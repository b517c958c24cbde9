"""The hook that contributes DistilBERT."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_distilbert.layout import LAYOUT
from vertebra_distilbert.presets import PRESETS


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="DistilBertBackbone",
            backbone="vertebra_distilbert.backbone:DistilBertBackbone",
            presets=PRESETS,
            layout=LAYOUT,
            formats={
                "transformers": FormatSpec(("distilbert",), "vertebra_distilbert.transformers:DistilBertTransformers"),
                "kerashub": FormatSpec(
                    ("keras_hub>DistilBertBackbone", "keras_nlp>DistilBertBackbone"),
                    "vertebra_distilbert.kerashub:DistilBertKerasHub",
                ),
            },
            heads={
                "TextClassifier": "vertebra_distilbert.heads:text_classifier",
                "TokenClassifier": "vertebra_distilbert.heads:token_classifier",
                "MaskedLM": "vertebra_distilbert.heads:masked_lm",
            },
        )
    ]
