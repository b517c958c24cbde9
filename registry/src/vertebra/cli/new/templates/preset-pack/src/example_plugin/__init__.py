"""The presets that `presets.json` lists; this code needs no change."""

import json
from pathlib import Path

from vertebra import PresetSpec, hookimpl


@hookimpl
def vertebra_presets() -> list[PresetSpec]:
    file = Path(__file__).with_name("presets.json")
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from error
    return [PresetSpec(**{**preset, "copies": tuple(preset["copies"])}) for preset in listed]
