"""A format of presets: a `config.json` with a mark of its own, and weights in `model.safetensors`.

An architecture is read and written in it if its `BackboneSpec` has a `FormatSpec` under the format's name.
"""

from collections.abc import Mapping
from typing import Any

from vertebra import PresetFormat, hookimpl

MARK = "example_name"


class ExamplePluginFormat(PresetFormat):
    """Such as `{"example_name": {"architecture": "bert"}, "network": {"width": 768}}`.

    If your configs are flat, with the architecture in one field, delete the methods and set `identifier_field`.
    """

    name = "example_name"

    def identifier(self, config: Mapping[str, Any]) -> str | None:
        """Returns the architecture, or None for a config in another format; configs may come from anywhere."""
        head = config.get(MARK)
        architecture = head.get("architecture") if isinstance(head, dict) else None
        return architecture if isinstance(architecture, str) else None

    def fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the fields that the architecture's translation reads."""
        fields: Mapping[str, Any] = config["network"]
        return fields

    def config(self, identifier: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config to write."""
        return {MARK: {"architecture": identifier}, "network": dict(fields)}


@hookimpl
def vertebra_formats() -> list[PresetFormat]:
    return [ExamplePluginFormat()]
