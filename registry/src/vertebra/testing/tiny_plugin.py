"""The plugin of `TinyBackbone`: a test that loads its presets adds this module with `vertebra.add_plugin`."""

from __future__ import annotations

from vertebra.hookspecs import hookimpl
from vertebra.specs import BackboneSpec


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    return [BackboneSpec("TinyBackbone", "vertebra.testing.tiny:TinyBackbone")]
