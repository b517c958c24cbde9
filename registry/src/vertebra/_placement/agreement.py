"""Agreement: compares the facts of all processes of a mesh, so that none computes with another version or preset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata

from vertebra._discovery.plugins import registry
from vertebra._placement.processes import Steps
from vertebra.errors import MeshError
from vertebra.errors.base import shown

Facts = Mapping[str, object]
"""Texts, or values that `repr` describes, by the names that messages have for them."""
MISSING = "none"
_MOST_FACTS, _MOST_RANGES, _MOST_CHARACTERS = 3, 6, 200


def agree(steps: Steps, facts: Facts) -> None:
    """Compares facts among all processes, as a step that they take together.

    Raises:
        MeshError: the processes differ; on each of them, it says which one differs in which fact.
    """
    if steps.group is None:
        return
    own = {name: value if isinstance(value, str) else repr(value) for name, value in facts.items()}
    everyone = [json.loads(note) for note in steps.reach("agree", json.dumps(own))]
    differences = []
    for name in dict.fromkeys(name for each in everyone for name in each):
        by_value: dict[str, list[int]] = {}
        for number, each in enumerate(everyone):
            by_value.setdefault(each.get(name, MISSING), []).append(number)
        if len(by_value) > 1:
            differences.append(f"in {name}: {_described(by_value)}")
    if differences:
        rest = len(differences) - _MOST_FACTS
        more = f"; and {rest} more" if rest > 0 else ""
        problem = f"its processes differ {'; '.join(differences[:_MOST_FACTS])}{more}"
        raise MeshError(problem, "Start all processes with the same versions, presets, files and arguments")


def versions(runtime: str) -> dict[str, str]:
    """Returns the versions of Vertebra, its plugins, Keras and the runtime, as facts."""
    versions = {name: _version(name) for name in ("vertebra", "keras", runtime)}
    versions |= {p.owner.distribution: p.owner.version or MISSING for p in registry().plugins if p.status == "loaded"}
    return {f"the version of {name}": version for name, version in sorted(versions.items())}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return MISSING


def _described(by_value: Mapping[str, Sequence[int]]) -> str:
    """Returns the values with the processes that have them; those of the fewest processes come first."""
    order = sorted(by_value.items(), key=lambda item: (len(item[1]), -item[1][0]))
    return ", ".join(f"{shown(value, _MOST_CHARACTERS)} on process {_ranges(numbers)}" for value, numbers in order)


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
