"""Describes a preset from its config and the headers of its weights files alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from vertebra._discovery.catalog import BACKBONES, catalog, presets
from vertebra._formats.backbone_tensors import BackboneTensors
from vertebra._formats.description import OpenPreset, PresetDescription
from vertebra._formats.registry import read_description
from vertebra._presets.untied_heads import untied_heads
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._tasks.preset_files import MOST_BYTES
from vertebra._tasks.tasks import describe_uses
from vertebra._tasks.tokenizers import describe_tokenizer
from vertebra._weights.tensor_entry import TensorEntry, describe_tensor
from vertebra._weights.tensor_layout import weight_shape
from vertebra.translations import TensorRule

UNUSED = "(unused)/"
"""Prefix of the names of tensors that the backbone does not use."""


def inspect_preset(preset: str, download: bool = False) -> dict[str, Any]:
    """Returns the description of a preset as plain data: its class, config, files and tensors.

    Args:
        preset: A preset, as passed to `from_preset`.
        download: Whether to download weights files of more than 25 MB whose headers cannot be read alone, such as HDF5
            files. Without it, `not_downloaded` has their sizes in bytes, and only the config is described.

    Raises:
        PresetError: as in `from_preset`, for the files that are read.
    """
    return read_consistently(preset, partial(_inspect, download=download))


def _inspect(folder: PresetFolder, download: bool) -> dict[str, Any]:
    description = read_description(folder)
    missing = {} if download else _to_download(description)
    if sum(missing.values()) > MOST_BYTES:
        return _describe_config(description, missing) | describe_text(description, None)
    preset = description.open_headers()
    tensors = preset.backbone_tensors()
    return describe(preset, download, tensors) | {
        "not_downloaded": {},
        "not_read": preset.description.not_read,
        "difference": preset.description.difference,
        "untied_heads": _untied_heads(preset, tensors),
        "left_out": folder.left_out,
        "notes": list(tensors.notes),
    }


def _untied_heads(preset: OpenPreset, tensors: BackboneTensors) -> list[str] | None:
    """Returns the result of `untied_heads.untied_heads`; maps the weights only if a head must be compared."""
    untied = preset.description.untied
    heads = untied_heads(untied, tensors.rules, tensors.outside, preset.entries)
    if heads is not None or not all(map(preset.description.folder.is_local, preset.header.files)):
        return heads
    return untied_heads(untied, tensors.rules, tensors.outside, preset.entries, preset.mapped().view)


def _to_download(description: PresetDescription) -> dict[str, int]:
    """Returns the sizes of the weights files that would be downloaded, because their headers cannot be read alone."""
    folder, kind = description.folder, description.files
    if kind.header_comes_first and folder.has_header_stubs:
        return {}
    weights = kind.used(folder.names)
    return {file.name: file.size for file in folder.files if file.name in weights and not folder.is_local(file.name)}


def _describe_config(description: PresetDescription, missing: Mapping[str, int]) -> dict[str, Any]:
    """Returns the description of a preset whose weights files are not here, with the keys of a complete one."""
    requested = description.folder.requested
    known = presets().lookup(requested).value.parameters if requested in presets() else None
    return _describe(description, description.files.used(description.folder.names), []) | {
        "parameters": known,
        "bytes": None,
        "not_downloaded": dict(missing),
        "not_read": description.not_read,
        "difference": description.difference,
        "untied_heads": None,
        "left_out": description.folder.left_out,
        "notes": list(description.notes),
    }


def describe(preset: OpenPreset, download: bool = False, found: BackboneTensors | None = None) -> dict[str, Any]:
    """Returns the description of an open preset as plain data, from its config, headers and small files.

    Args:
        preset: The preset.
        download: Whether files of more than 25 MB are downloaded.
        found: The backbone's tensors, if they were found before.
    """
    found = found or preset.backbone_tensors()
    tensors = [describe_tensor(name, entry) for name, entry in _named_tensors(preset, found.rules).items()]
    text = describe_text(preset.description, found.outside, download)
    return _describe(preset.description, preset.header.files, tensors) | text


def describe_text(
    description: PresetDescription, outside: Sequence[str] | None, download: bool = False
) -> dict[str, Any]:
    """Returns the tasks and the tokenizer of a preset as plain data.

    Args:
        description: The preset.
        outside: Names of the tensors that are not the backbone's, or None if the headers were not read.
        download: Whether files of more than 25 MB are downloaded.
    """
    uses = describe_uses(description, outside, download)
    tasks = [{"task": task.name, "owner": task.distribution, **asdict(task.facts)} for task in uses.tasks]
    return {
        "tasks": tasks,
        "tokenizer": describe_tokenizer(uses.tokenizer, description.arguments.get("vocabulary_size")),
    }


def _describe(
    described: PresetDescription, files: Iterable[str], tensors: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    by_dtype: dict[str, int] = {}
    used = [tensor for tensor in tensors if not tensor["name"].startswith(UNUSED)]
    for tensor in used:
        by_dtype[tensor["dtype"]] = by_dtype.get(tensor["dtype"], 0) + tensor["bytes"]
    return {
        "handle": str(described.folder.handle),
        "format": described.format,
        "backbone": described.backbone,
        "owner": _owner(described.backbone),
        "config": described.arguments,
        "files": sorted(files),
        "parameters": sum(tensor["parameters"] for tensor in used),
        "bytes": sum(by_dtype.values()),
        "bytes_by_dtype": by_dtype,
        "tensors": list(tensors),
    }


def _named_tensors(preset: OpenPreset, rules: Mapping[str, TensorRule]) -> dict[str, TensorEntry]:
    """Returns the tensors by the names of the weights they fill, in the architecture's order, then the unused ones."""
    entries = preset.entries
    used = {rule.tensor for rule in rules.values()}
    named = {
        weight: _describe_weight(rule, entries[rule.tensor]) for weight, rule in rules.items() if rule.tensor in entries
    }
    return named | {f"{UNUSED}{tensor}": entry for tensor, entry in entries.items() if tensor not in used}


def _describe_weight(rule: TensorRule, entry: TensorEntry) -> TensorEntry:
    """Describes a weight by its tensor, or by its part of a fused tensor."""
    shape = weight_shape(rule, entry.shape) or entry.shape
    if shape == entry.shape:
        return entry
    return replace(entry, shape=shape, size=entry.size * math.prod(shape) // max(math.prod(entry.shape), 1))


def _owner(backbone: str) -> str | None:
    backbones = catalog(BACKBONES)
    return str(backbones.lookup(backbone).owner) if backbone in backbones else None
