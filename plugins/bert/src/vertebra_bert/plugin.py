"""The hook that contributes BERT and ELECTRA."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_bert.layout import LAYOUT
from vertebra_bert.presets import ELECTRA_PRESETS, PRESETS


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="BertBackbone",
            backbone="vertebra_bert.backbone:BertBackbone",
            presets=PRESETS,
            layout=LAYOUT,
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
        ),
        BackboneSpec(
            name="ElectraBackbone",
            backbone="vertebra_bert.backbone:ElectraBackbone",
            presets=ELECTRA_PRESETS,
            layout=LAYOUT,
            formats={
                "transformers": FormatSpec(("electra",), "vertebra_bert.transformers:ElectraTransformers"),
                "kerashub": FormatSpec(
                    ("keras_hub>ElectraBackbone", "keras_nlp>ElectraBackbone"), "vertebra_bert.kerashub:ElectraKerasHub"
                ),
            },
            heads={
                "TextClassifier": "vertebra_bert.heads:electra_text_classifier",
                "TokenClassifier": "vertebra_bert.heads:electra_token_classifier",
                "MaskedLM": "vertebra_bert.heads:electra_masked_lm",
            },
        ),
    ]
