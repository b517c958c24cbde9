"""The hook that contributes Gemma."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_gemma import gemma3_presets, layout, presets


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="GemmaBackbone",
            backbone="vertebra_gemma.backbone:GemmaBackbone",
            presets=presets.PRESETS,
            cache="vertebra_gemma.cache:gemma",
            layout=layout.LAYOUT,
            formats={
                "kerashub": FormatSpec(
                    ("keras_hub>GemmaBackbone", "keras_nlp>GemmaBackbone"), "vertebra_gemma.kerashub:GemmaKerasHub"
                ),
                "transformers": FormatSpec(
                    ("gemma", "gemma2", "vaultgemma"), "vertebra_gemma.transformers:GemmaTransformers"
                ),
            },
        ),
        BackboneSpec(
            name="Gemma3Backbone",
            backbone="vertebra_gemma.gemma3:Gemma3Backbone",
            presets=gemma3_presets.PRESETS,
            cache="vertebra_gemma.cache:gemma3",
            layout=layout.LAYOUT,
            formats={
                "kerashub": FormatSpec(("keras_hub>Gemma3Backbone",), "vertebra_gemma.gemma3_kerashub:Gemma3KerasHub"),
                "transformers": FormatSpec(
                    ("gemma3_text", "gemma3"), "vertebra_gemma.gemma3_transformers:Gemma3Transformers"
                ),
            },
        ),
    ]
