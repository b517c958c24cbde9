"""The hook that contributes the architecture. This module must import no framework: it names the code that does."""

from vertebra import BackboneSpec, FormatSpec, hookimpl

from example_plugin.layout import LAYOUT

MODEL_TYPE = "example_plugin"
"""The `model_type` in the config.json of the checkpoints to read and write."""


@hookimpl
def vertebra_backbones() -> list[BackboneSpec]:
    checkpoints = FormatSpec((MODEL_TYPE,), "example_plugin.transformers:Checkpoints")
    return [
        BackboneSpec(
            name="ExamplePluginBackbone",
            backbone="example_plugin.backbone:ExamplePluginBackbone",
            formats={"transformers": checkpoints},
            layout=LAYOUT,
        )
    ]
