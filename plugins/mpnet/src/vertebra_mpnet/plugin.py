"""The hook that contributes MPNet."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_mpnet.layout import LAYOUT
from vertebra_mpnet.presets import PRESETS


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="MPNetBackbone",
            backbone="vertebra_mpnet.backbone:MPNetBackbone",
            presets=PRESETS,
            layout=LAYOUT,
            formats={"transformers": FormatSpec(("mpnet",), "vertebra_mpnet.transformers:MPNetTransformers")},
            heads={
                "TextClassifier": "vertebra_mpnet.heads:text_classifier",
                "TokenClassifier": "vertebra_mpnet.heads:token_classifier",
                "MaskedLM": "vertebra_mpnet.heads:masked_lm",
            },
        )
    ]
