"""The hook that contributes ViT and DINOv2."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_vit import layout
from vertebra_vit.presets import DINOV2_PRESETS, VIT_PRESETS


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="ViTBackbone",
            backbone="vertebra_vit.backbone:ViTBackbone",
            presets=VIT_PRESETS,
            layout=layout.VIT,
            formats={
                "transformers": FormatSpec(("vit",), "vertebra_vit.transformers:ViTTransformers"),
                "kerashub": FormatSpec(("keras_hub>ViTBackbone",), "vertebra_vit.kerashub:ViTKerasHub"),
            },
        ),
        BackboneSpec(
            name="DINOV2Backbone",
            backbone="vertebra_vit.backbone:DINOV2Backbone",
            presets=DINOV2_PRESETS,
            layout=layout.DINOV2,
            formats={
                "transformers": FormatSpec(
                    ("dinov2", "dinov2_with_registers"), "vertebra_vit.transformers:DINOV2Transformers"
                ),
                "kerashub": FormatSpec(("keras_hub>DINOV2Backbone",), "vertebra_vit.kerashub:DINOV2KerasHub"),
            },
        ),
    ]
