"""Presets that other tools have put into a bucket, file by file: they are pinned by the store's list of the files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from vertebra import PresetHandle
from vertebra.errors import PresetError, PresetNotFoundError, close_names
from vertebra_s3 import layout
from vertebra_s3.bucket import Bucket, Object

MOST_OBJECTS = 10_000
"""The most objects below the prefix of a preset; a prefix with more may be a whole bucket."""


def files(handle: PresetHandle, bucket: Bucket, location: layout.Location) -> dict[str, Object]:
    """Returns the files that other tools have put below a prefix, by name, as the store lists them.

    Raises:
        PresetError: it is too much for a preset.
    """
    found: dict[str, Object] = {}
    for listed in bucket.list(location.prefix):
        name = listed["path"].removeprefix(location.prefix)
        if not layout.is_of_pushed(name):
            found[name] = listed
        if len(found) > MOST_OBJECTS:
            problem = f"more than {MOST_OBJECTS:,} objects are there, which is no preset"
            raise PresetError(f"Preset {str(handle)!r}: {problem}. Name the prefix that holds its files.")
    folders = {name.rpartition("/")[0] for name in found}  # some tools mark folders with objects of their name
    return {name: found[name] for name in sorted(found) if name and name not in folders}


def revision_of(files: Mapping[str, Object]) -> str:
    """Returns the revision that files make, as the store lists them."""
    facts = [[name, files[name]["size"], files[name]["e_tag"]] for name in sorted(files)]
    return f"list-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}"


def nothing(handle: PresetHandle, names: Iterable[str]) -> PresetNotFoundError:
    """Returns the error for a prefix at which what was asked for is not, from the names of objects there."""
    known = sorted(layout.revisions(names))
    if handle.revision is not None:
        problem = f"it has no revision {handle.revision!r}"
        return PresetNotFoundError(handle, problem, close_names(handle.revision, known) or known[:3])
    if known:
        problem = f"it has named revisions only, such as {PresetHandle(handle.scheme, handle.path, known[0])}"
        return PresetNotFoundError(handle, problem)
    return PresetNotFoundError(handle, f"at this prefix is neither a {layout.MANIFEST} nor a config.json")
