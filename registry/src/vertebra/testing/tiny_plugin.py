"""The plugin of `TinyBackbone`: a test that loads its presets adds this module with `vertebra.add_plugin`."""

from __future__ import annotations

from vertebra.hookspecs import hookimpl
from vertebra.specs import BackboneSpec
from vertebra.testing.tiny_layout import LAYOUT


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [BackboneSpec("TinyBackbone", "vertebra.testing.tiny:TinyBackbone", layout=LAYOUT)]
