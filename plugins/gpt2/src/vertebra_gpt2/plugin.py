"""The hook that contributes GPT-2."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_gpt2.layout import LAYOUT
from vertebra_gpt2.presets import PRESETS

_KERASHUB_NAMES = ("keras_hub>GPT2Backbone", "keras_nlp>GPT2Backbone")  # KerasHub was called KerasNLP before


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="GPT2Backbone",
            backbone="vertebra_gpt2.backbone:GPT2Backbone",
            presets=PRESETS,
            layout=LAYOUT,
            cache="vertebra_gpt2.cache:layers",
            formats={
                "kerashub": FormatSpec(_KERASHUB_NAMES, "vertebra_gpt2.kerashub:GPT2KerasHub"),
                "transformers": FormatSpec(("gpt2",), "vertebra_gpt2.transformers:GPT2Transformers"),
            },
        )
    ]
