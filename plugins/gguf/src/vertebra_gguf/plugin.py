"""The hook that contributes the format."""

from vertebra import PresetFormat, hookimpl
from vertebra_gguf.format import GgufFormat


@hookimpl
def vertebra_formats() -> list[PresetFormat]:
    return [GgufFormat()]
