"""What a preset holds, from its config and the headers of its files alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra._formats.description import PresetContents
from vertebra._formats.registry import read_contents
from vertebra._presets.untied_heads import untied_heads
from vertebra._resolve.consistent_read import of_one_version
from vertebra._resolve.preset_files import PresetFolder
from vertebra._weights.tensor_entry import Header, TensorEntry
from vertebra._weights.tensor_layout import weight_shape
from vertebra.specs import TensorRule

_UNUSED = "(unused)/"


def inspect_preset(preset: str) -> dict[str, Any]:
    """Returns what a preset holds, as plain data."""
    return of_one_version(preset, _inspect)


def _inspect(folder: PresetFolder) -> dict[str, Any]:
    contents = read_contents(folder)
    headers = contents.headers()
    return describe(contents, headers) | {
        "not_read": contents.not_read,
        "untied_heads": _untied_heads(contents, headers),
    }


def _untied_heads(contents: PresetContents, headers: Mapping[str, Header]) -> list[str] | None:
    """Returns what `heads.untied_heads` does; weights are looked at only if they may show a head."""
    entries = {name: entry for header in headers.values() for name, entry in header.entries.items()}
    contents = contents.seen(entries)
    rules, _, outside = contents.locate(entries)
    found = untied_heads(contents.untied, rules, outside, entries)
    if found is not None or not all(map(contents.folder.is_here, headers)):
        return found
    return untied_heads(contents.untied, rules, outside, entries, contents.open().view)


def describe(contents: PresetContents, headers: Mapping[str, Header]) -> dict[str, Any]:
    """Returns what a preset holds, as plain data, from the headers of its weights files."""
    entries = {name: entry for header in headers.values() for name, entry in header.entries.items()}
    contents = contents.seen(entries)
    tensors = [describe_tensor(name, entry) for name, entry in _named(contents, entries).items()]
    by_dtype: dict[str, int] = {}
    used = [tensor for tensor in tensors if not tensor["name"].startswith(_UNUSED)]
    for tensor in used:
        by_dtype[tensor["dtype"]] = by_dtype.get(tensor["dtype"], 0) + tensor["bytes"]
    return {
        "handle": str(contents.folder.handle),
        "format": contents.format,
        "backbone": contents.backbone,
        "owner": _owner(contents.backbone),
        "config": contents.arguments,
        "files": sorted(headers),
        "parameters": sum(tensor["parameters"] for tensor in used),
        "bytes": sum(by_dtype.values()),
        "bytes_by_dtype": by_dtype,
        "tensors": tensors,
    }


def _named(contents: PresetContents, entries: Mapping[str, TensorEntry]) -> dict[str, TensorEntry]:
    """Names tensors by the weights they fill, in the architecture's order; others keep their names, as `(unused)`."""
    rules, _, _ = contents.locate(entries)
    used = {rule.tensor for rule in rules.values()}
    named = {weight: _part(rule, entries[rule.tensor]) for weight, rule in rules.items() if rule.tensor in entries}
    return named | {f"{_UNUSED}{tensor}": entry for tensor, entry in entries.items() if tensor not in used}


def _part(rule: TensorRule, entry: TensorEntry) -> TensorEntry:
    """Describes a weight by its tensor, or by its share of one that several weights lie in."""
    shape = weight_shape(rule, entry.shape) or entry.shape
    return replace(entry, shape=shape, size=entry.size // (rule.part or (0, 1))[1])


def describe_tensor(name: str, entry: TensorEntry) -> dict[str, Any]:
    """Returns what a header says of a tensor, as plain data."""
    return {
        "name": name,
        "shape": list(entry.shape),
        "dtype": entry.dtype,
        "parameters": math.prod(entry.shape),
        "bytes": entry.size,
    }


def _owner(backbone: str) -> str | None:
    found = catalog(BACKBONES)
    return str(found.lookup(backbone).owner) if backbone in found else None
