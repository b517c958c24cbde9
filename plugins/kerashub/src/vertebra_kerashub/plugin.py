"""The hook that contributes every backbone class of the installed KerasHub, if there is one."""

from vertebra import BackboneSpec, FormatSpec, hookimpl
from vertebra_kerashub.installed import backbone_classes


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [_spec(name) for name in backbone_classes()]


def _spec(name: str) -> BackboneSpec:
    identifiers = (f"keras_hub>{name}", f"keras_nlp>{name}")
    return BackboneSpec(
        name=f"KerasHub{name}",
        backbone=f"vertebra_kerashub.backbone:KerasHub{name}",
        formats={"kerashub": FormatSpec(identifiers, f"vertebra_kerashub.kerashub:{name}Translation")},
        fallback=True,
    )
