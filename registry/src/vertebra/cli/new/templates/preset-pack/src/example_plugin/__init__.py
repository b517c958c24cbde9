"""The presets that `presets.json` lists; this code needs no change."""

import json
from pathlib import Path

from vertebra import PresetSpec, hookimpl


@hookimpl
def vertebra_presets() -> list[PresetSpec]:
    listed = json.loads(Path(__file__).with_name("presets.json").read_text(encoding="utf-8"))
    return [PresetSpec(**{**preset, "copies": tuple(preset["copies"])}) for preset in listed]
