"""The JSON Schemas of the files that Vertebra writes, and of what its command prints with `--json`.

Each is a JSON file of this folder. Those of commands have the words of the command as their name, with hyphens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def schema_names() -> list[str]:
    """Returns the names of all schemas, in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def read_schema(name: str) -> dict[str, Any]:
    """Returns a schema of `schema_names` (JSON Schema, draft 2020-12)."""
    schema: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return schema
