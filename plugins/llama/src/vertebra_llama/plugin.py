"""The hook that contributes Llama and its kin."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_llama.layout import LAYOUT
from vertebra_llama.presets import LLAMA, MISTRAL, PHI3, QWEN2, QWEN3, SMOLLM3

# The class without `Backbone`, the model type and the reference of the translation of transformers, the classes and the
# reference of the translation of KerasHub, and the presets.
_FAMILIES = (
    ("Llama", "llama", "transformers:LlamaTransformers", ("Llama", "Llama3"), "kerashub:LlamaKerasHub", LLAMA),
    ("Mistral", "mistral", "model_types:MistralTransformers", ("Mistral",), "kerashub:MistralKerasHub", MISTRAL),
    ("Qwen2", "qwen2", "model_types:Qwen2Transformers", ("Qwen",), "kerashub:QwenKerasHub", QWEN2),
    ("Qwen3", "qwen3", "model_types:Qwen3Transformers", ("Qwen3",), "kerashub:Qwen3KerasHub", QWEN3),
    (
        "SmolLM3",
        "smollm3",
        "model_types:SmolLM3Transformers",
        ("SmolLM3",),
        "kerashub_smollm3:SmolLM3KerasHub",
        SMOLLM3,
    ),
    ("Phi3", "phi3", "model_types:Phi3Transformers", ("Phi3",), "kerashub:Phi3KerasHub", PHI3),
)


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name=f"{name}Backbone",
            backbone=f"vertebra_llama.backbone:{name}Backbone",
            presets=presets,
            layout=LAYOUT,
            cache="vertebra_llama.cache:layers",
            formats={
                "kerashub": FormatSpec(
                    tuple(f"keras_hub>{kind}Backbone" for kind in classes), f"vertebra_llama.{kerashub}"
                ),
                "transformers": FormatSpec((model_type,), f"vertebra_llama.{transformers}"),
            },
        )
        for name, model_type, transformers, classes, kerashub, presets in _FAMILIES
    ]
