"""The hook that contributes the source `modelscope`."""

from vertebra import PresetSource, hookimpl
from vertebra_modelscope.source import ModelScopeSource


@hookimpl
def vertebra_preset_sources() -> list[PresetSource]:
    return [ModelScopeSource()]
