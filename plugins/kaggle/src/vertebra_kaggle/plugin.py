"""The hook that contributes the `kaggle` source."""

from vertebra import PresetSource, hookimpl
from vertebra_kaggle.source import KaggleSource


@hookimpl
def vertebra_preset_sources() -> list[PresetSource]:
    return [KaggleSource()]
