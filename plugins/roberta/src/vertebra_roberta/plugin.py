"""The hook that contributes RoBERTa, XLM-RoBERTa and CamemBERT."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_roberta.layout import LAYOUT
from vertebra_roberta.presets import CAMEMBERT_PRESETS, ROBERTA_PRESETS, XLM_ROBERTA_PRESETS

_HEADS = {
    "TextClassifier": "vertebra_roberta.heads:text_classifier",
    "TokenClassifier": "vertebra_roberta.heads:token_classifier",
    "MaskedLM": "vertebra_roberta.heads:masked_lm",
}


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="RobertaBackbone",
            backbone="vertebra_roberta.backbone:RobertaBackbone",
            presets=ROBERTA_PRESETS,
            layout=LAYOUT,
            formats={
                "transformers": FormatSpec(("roberta",), "vertebra_roberta.transformers:RobertaTransformers"),
                "kerashub": _kerashub("RobertaBackbone"),
            },
            heads=_HEADS,
        ),
        BackboneSpec(
            name="XLMRobertaBackbone",
            backbone="vertebra_roberta.backbone:XLMRobertaBackbone",
            presets=XLM_ROBERTA_PRESETS,
            layout=LAYOUT,
            formats={
                "transformers": FormatSpec(("xlm-roberta",), "vertebra_roberta.transformers:XLMRobertaTransformers"),
                "kerashub": _kerashub("XLMRobertaBackbone"),
            },
            heads=_HEADS,
        ),
        BackboneSpec(
            name="CamembertBackbone",
            backbone="vertebra_roberta.backbone:CamembertBackbone",
            presets=CAMEMBERT_PRESETS,
            layout=LAYOUT,
            formats={
                "transformers": FormatSpec(("camembert",), "vertebra_roberta.transformers:CamembertTransformers"),
            },
            heads=_HEADS,
        ),
    ]


def _kerashub(name: str) -> FormatSpec:
    return FormatSpec((f"keras_hub>{name}", f"keras_nlp>{name}"), "vertebra_roberta.kerashub:RobertaKerasHub")
