"""Presets that other tools have written into a bucket: they are pinned by the store's list of their files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping

from vertebra import PresetHandle, file_names
from vertebra.errors import PresetError, PresetNotFoundError, close_names
from vertebra_s3 import layout
from vertebra_s3.bucket import MOST_OBJECTS, Bucket, Object

_CONFIG_BELOW = re.compile(r"([^/]+(?:/[^/]+)?)/(?:config|vertebra)\.json")
"""Names of configs and pointers in a folder, or in a folder of a folder."""
_MOST_SEARCHED, _MOST_NAMED = 2_000, 5


def files(handle: PresetHandle, bucket: Bucket, location: layout.Location) -> dict[str, Object]:
    """Returns the files that other tools have written below a prefix, by name, as the store lists them.

    Raises:
        PresetError: there are too many files for a preset.
    """
    found = bucket.list(location.prefix, MOST_OBJECTS + 1)
    if len(found) > MOST_OBJECTS:
        problem = f"more than {MOST_OBJECTS:,} objects are below its prefix, too many for a preset"
        raise PresetError(f"Preset {str(handle)!r}: {problem}. Name the prefix that holds its files.")
    named = {listed["path"].removeprefix(location.prefix): listed for listed in found}
    objects = {name: listed for name, listed in named.items() if not layout.is_published(name)}
    folders = {name.rpartition("/")[0] for name in objects}  # some tools mark folders with objects of their name
    return {name: objects[name] for name in sorted(objects) if name and name not in folders}


def revision_of(files: Mapping[str, Object]) -> str:
    """Returns the revision of files: a hash of their names, sizes and ETags."""
    facts = [[name, files[name]["size"], files[name]["e_tag"]] for name in sorted(files)]
    return f"list-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}"


def not_found(handle: PresetHandle, names: Iterable[str]) -> PresetNotFoundError:
    """Returns the error for a prefix that lacks the requested preset or revision.

    Args:
        handle: The requested preset.
        names: Names of the objects directly below the prefix.
    """
    known = sorted(layout.revisions(names))
    if handle.revision is not None:
        problem = f"it has no revision {handle.revision!r}"
        return PresetNotFoundError(handle, problem, close_names(handle.revision, known) or known[:3])
    if known:
        problem = f"it has named revisions only, such as {PresetHandle(handle.scheme, handle.path, known[0])}"
        return PresetNotFoundError(handle, problem)
    return PresetNotFoundError(
        handle, f"its prefix has neither a {layout.MANIFEST} nor a {file_names.CONFIG} or {file_names.ADAPTER_CONFIG}"
    )


def not_here(handle: PresetHandle, bucket: Bucket, location: layout.Location, names: Iterable[str]) -> PresetError:
    """Returns the error for a prefix without a preset; it names the folders below that have a config."""
    below = [listed["path"].removeprefix(location.prefix) for listed in bucket.list(location.prefix, _MOST_SEARCHED)]
    found = [_CONFIG_BELOW.fullmatch(name) for name in below]
    folders = sorted({match[1] for match in found if match and not layout.is_published(f"{match[1]}/")})
    if not folders:
        return not_found(handle, names)
    problem = f"it has no config.json, but these folders below its prefix have: {', '.join(folders[:_MOST_NAMED])}"
    presets = [str(PresetHandle(handle.scheme, f"{handle.path}/{folder}")) for folder in folders[:_MOST_NAMED]]
    return PresetNotFoundError(handle, problem, presets, "Name the prefix that you mean")
