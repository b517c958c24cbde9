"""The hook that contributes ModernBERT."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_modernbert.layout import LAYOUT
from vertebra_modernbert.presets import PRESETS


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="ModernBertBackbone",
            backbone="vertebra_modernbert.backbone:ModernBertBackbone",
            presets=PRESETS,
            layout=LAYOUT,
            formats={
                "transformers": FormatSpec(("modernbert",), "vertebra_modernbert.transformers:ModernBertTransformers")
            },
            heads={
                "TextClassifier": "vertebra_modernbert.heads:text_classifier",
                "TokenClassifier": "vertebra_modernbert.heads:token_classifier",
                "MaskedLM": "vertebra_modernbert.heads:masked_lm",
            },
        )
    ]
