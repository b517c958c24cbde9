"""Agreement: compares the facts of all processes of a mesh, so that none computes with another version or preset."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import NamedTuple

from vertebra._discovery.plugins import registry
from vertebra._placement.processes import Steps
from vertebra.errors import MeshError
from vertebra.errors.base import shown

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
MISSING = "none"
_MOST_FACTS, _MOST_RANGES, _MOST_CHARACTERS = 3, 6, 200


class Fact(NamedTuple):
    """A fact that must be the same in all processes."""

    value: str
    shown: str
    """The text of it in messages."""


def agree(steps: Steps, facts: Mapping[str, object]) -> None:
    """Compares facts among all processes, as a step that they take together.

    Args:
        steps: The steps of the processes.
        facts: Facts by the names that messages have for them: a `Fact`, a text, or a value that `repr` describes.

    Raises:
        MeshError: the processes differ; on each of them, it says which one differs in which fact.
    """
    if steps.group is None:
        return
    own = {name: value if isinstance(value, Fact) else _described(value) for name, value in facts.items()}
    everyone = [json.loads(note) for note in steps.reach("agree", json.dumps(own))]
    differences = []
    for name in dict.fromkeys(name for each in everyone for name in each):
        found = [Fact(*each.get(name, (MISSING, MISSING))) for each in everyone]
        if len({fact.value for fact in found}) > 1:
            differences.append(f"in {name}: {_listed(found)}")
    if differences:
        rest = len(differences) - _MOST_FACTS
        more = f"; and {rest} more" if rest > 0 else ""
        problem = f"its processes differ {'; '.join(differences[:_MOST_FACTS])}{more}"
        raise MeshError(problem, "Start all processes with the same versions, presets, files and arguments")


def versions(runtime: str) -> dict[str, str]:
    """Returns the versions of Vertebra, its plugins, Keras and the runtime, as facts."""
    versions = {p.owner.distribution: p.owner.version or MISSING for p in registry().plugins if p.status == "loaded"}
    versions |= {name: _version(name) for name in ("vertebra", "keras", runtime)}
    return {f"the version of {name}": version for name, version in sorted(versions.items())}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return MISSING


def _described(value: object) -> Fact:
    text = value if isinstance(value, str) else _ADDRESS.sub("", repr(value))
    return Fact(hashlib.sha256(text.encode()).hexdigest(), shown(value, _MOST_CHARACTERS))


def _listed(found: Sequence[Fact]) -> str:
    """Returns the values with the processes that have them; those of the fewest processes come first."""
    numbers: dict[str, list[int]] = {}
    for number, fact in enumerate(found):
        numbers.setdefault(fact.value, []).append(number)
    order = sorted(numbers.values(), key=lambda own: (len(own), -own[0]))
    return ", ".join(f"{found[own[0]].shown} on process {_ranges(own)}" for own in order)


def _ranges(numbers: Sequence[int]) -> str:
    """Returns numbers in ascending order as a text, such as `0–2, 5`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = [str(first) if first == last else f"{first}–{last}" for first, last in ranges]
    return ", ".join(texts[:_MOST_RANGES]) + (", …" if len(texts) > _MOST_RANGES else "")
