"""The rules of the engines, read from `rules.json`: data with the version and the source in which each was read.

An engine is a program that runs adapters in PEFT's layout. An effect is `refused` if the engine raises an error,
`ignored` if it leaves tensors out, and `changed` if it computes something else than PEFT.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RULES = Path(__file__).with_name("rules.json")


@dataclass(frozen=True, slots=True)
class Engine:
    """One release of an engine, with its rules."""

    name: str
    title: str
    version: str
    rules: dict[str, Any]


@functools.cache
def engines() -> dict[str, Engine]:
    """Returns the engines by name."""
    table = json.loads(_RULES.read_text(encoding="utf-8"))
    return {name: Engine(name, rules["title"], rules["version"], rules) for name, rules in table.items()}
