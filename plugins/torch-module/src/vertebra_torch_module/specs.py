"""The spec of a module's backbone class."""

from vertebra import BackboneSpec, FormatSpec


def spec(name: str, identifier: str) -> BackboneSpec:
    """Returns the spec of a backbone class whose configs in transformers' format have this `model_type`."""
    translation = f"vertebra_torch_module.transformers:{name}Translation"
    return BackboneSpec(
        name=name,
        backbone=f"vertebra_torch_module.backbone:{name}",
        formats={"transformers": FormatSpec((identifier,), translation)},
        runtimes=("torch",),
    )
