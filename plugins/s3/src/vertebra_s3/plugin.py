"""The hook that contributes the sources `s3`, `gs` and `az`."""

from vertebra import PresetSource, hookimpl
from vertebra_s3.source import AzureSource, GoogleSource, S3Source


@hookimpl
def vertebra_preset_sources() -> list[PresetSource]:
    return [S3Source(), GoogleSource(), AzureSource()]
