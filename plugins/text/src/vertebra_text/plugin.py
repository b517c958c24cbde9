"""The hooks of text: none contributes yet, since the core has no hook for tokenizers."""

from vertebra import BackboneSpec, hookimpl


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return []
