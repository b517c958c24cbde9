"""The hook that contributes the `hf` source."""

from vertebra import PresetSource, hookimpl
from vertebra_hf.source import HfSource


@hookimpl
def vertebra_preset_sources() -> list[PresetSource]:
    return [HfSource()]
