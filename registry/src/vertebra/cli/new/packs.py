"""The presets of a preset pack: copied into the package if they are on this machine, and listed in `presets.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vertebra._resolve.filenames import impossible_on_some, unsafe_names
from vertebra.cli.new.names import Names
from vertebra.errors import NewPluginError

PACK = "preset-pack"
LIST = "presets.json"
_FILES = ("__init__.py", "__pycache__", "py.typed")
"""Other files in the package, whose names no folder of a preset can have."""
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def check_presets(name: str, template: str, presets: Sequence[str]) -> None:
    """Raises NewPluginError for a pack without presets, and for presets of another kind of plugin."""
    if template == PACK and not presets:
        remedy = "Name at least one with --preset, such as --preset ./my_bert or --preset acme_bert=hf://acme/bert"
        raise NewPluginError(name, "a preset pack needs presets", remedy)
    if template != PACK and presets:
        raise NewPluginError(name, "only a preset pack has presets", "Omit --preset")


def add_presets(package: Path, names: Names, presets: Sequence[str]) -> list[str]:
    """Writes the presets of a pack into its package; returns the distributions that they need.

    Raises:
        NewPluginError: an id is invalid or given twice, or no installed plugin has the architecture of a preset.
        PresetError: a preset cannot be read.
    """
    listed: list[dict[str, Any]] = []
    needs: list[str] = []
    for text in presets:
        id, _, preset = text.rpartition("=") if _ID.fullmatch(text.partition("=")[0]) else ("", "", text)
        id = id or _id_of(names, preset)
        taken = [LIST, *_FILES, *(other["name"] for other in listed)]
        if not _ID.fullmatch(id) or unsafe_names([id]) or impossible_on_some([*taken, id]) or id in taken:
            remedy = "Give each preset an id of its own, as in --preset acme_bert=./my_bert"
            raise NewPluginError(names.distribution, f"{id!r} is no new id for the preset {preset!r}", remedy)
        spec, distributions = _describe(package, names, id, preset)
        listed.append(spec)
        needs += distributions
    if listed:
        package.mkdir(parents=True, exist_ok=True)
        (package / LIST).write_text(json.dumps(listed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return sorted(set(needs) - {"vertebra"})


def _id_of(names: Names, preset: str) -> str:
    """Returns an id for a preset without one: the package's name, and the last part of a path or handle."""
    last = re.split(r"[/\\]", preset.rstrip("/\\").partition("@")[0])[-1]
    return f"{names.package}_{re.sub(r'[^a-z0-9]+', '_', last.lower()).strip('_')}".rstrip("_")


def _describe(package: Path, names: Names, id: str, preset: str) -> tuple[dict[str, Any], list[str]]:
    """Returns the fields of a preset's `PresetSpec`, and the distributions that it needs; copies a local preset."""
    from vertebra._discovery.catalog import BACKBONES, SOURCES, catalog, presets
    from vertebra._presets.inspect import inspect_preset
    from vertebra._resolve.local_files import copy_files, local_files
    from vertebra._resolve.open import open_folder

    if id in presets():
        owner = presets().lookup(id).owner
        remedy = f"Choose another, as in --preset NEW_ID={preset}"
        raise NewPluginError(names.distribution, f"the preset id {id!r} is of {owner}", remedy)
    facts = inspect_preset(preset)
    name = facts["backbone"]
    if name not in catalog(BACKBONES) or not facts["parameters"]:
        problem = f"the preset {preset!r} is of {name}, which no installed plugin has"
        raise NewPluginError(names.distribution, problem, "Install the plugin of its architecture")
    needs = [catalog(BACKBONES).lookup(name).owner.distribution]
    handle = str(open_folder(preset).handle)
    source = catalog(SOURCES).lookup(handle.partition(":")[0])
    if source.value.is_remote:
        needs.append(source.owner.distribution)
    else:
        copy_files(local_files(preset, []), package / id)
        handle = f"package://{names.package}/{id}"
    text = f"{facts['parameters']:,} parameters"  # the author writes a better one
    fields = {"name": id, "handle": handle, "parameters": facts["parameters"], "description": text}
    return fields | {"backbone": name, "copies": []}, needs
