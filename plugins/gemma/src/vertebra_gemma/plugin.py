"""The hook that contributes Gemma."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_gemma.presets import PRESETS


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="GemmaBackbone",
            backbone="vertebra_gemma.backbone:GemmaBackbone",
            presets=PRESETS,
            formats={
                "kerashub": FormatSpec(
                    ("keras_hub>GemmaBackbone", "keras_nlp>GemmaBackbone"), "vertebra_gemma.kerashub:GemmaKerasHub"
                ),
                "transformers": FormatSpec(
                    ("gemma", "gemma2", "vaultgemma"), "vertebra_gemma.transformers:GemmaTransformers"
                ),
            },
        )
    ]
