"""The hook that contributes the source `oci`."""

from vertebra import PresetSource, hookimpl
from vertebra_oci.source import OciSource


@hookimpl
def vertebra_preset_sources() -> list[PresetSource]:
    return [OciSource()]
