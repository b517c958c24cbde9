"""The hook that contributes BERT."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_bert.presets import PRESETS


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="BertBackbone",
            backbone="vertebra_bert.backbone:BertBackbone",
            presets=PRESETS,
            formats={
                "transformers": FormatSpec(("bert",), "vertebra_bert.transformers:BertTransformers"),
                "kerashub": FormatSpec(
                    ("keras_hub>BertBackbone", "keras_nlp>BertBackbone"), "vertebra_bert.kerashub:BertKerasHub"
                ),
            },
            heads={
                "TextClassifier": "vertebra_bert.heads:text_classifier",
                "TokenClassifier": "vertebra_bert.heads:token_classifier",
                "MaskedLM": "vertebra_bert.heads:masked_lm",
            },
            demo="vertebra_bert.demo:run",
        )
    ]
