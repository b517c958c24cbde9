"""A policy: mirrors some presets, refuses some, and records all loads. Delete the hooks that you do not need.

The hooks are called for every preset: they must be fast, and use no network.
"""

import logging
from fnmatch import fnmatchcase

from vertebra import LoadedPreset, PresetHandle, hookimpl

MIRRORS = {"hf://example-org/": "example-mirror://example-org/"}
"""Addresses by their beginnings, each with the beginning of the mirror's address, which is tried first."""
REFUSED = {"*://example-org/unreviewed-*": "its licence has not been reviewed"}
"""Globs of addresses that must not be loaded, those of mirrors included, each with the reason, which the user sees."""
LOG = logging.getLogger(__name__)


@hookimpl
def vertebra_rewrite_handle(handle: PresetHandle) -> list[PresetHandle] | None:
    for beginning, mirror in MIRRORS.items():
        text = str(handle)
        if text.startswith(beginning):
            return [PresetHandle.parse(mirror + text.removeprefix(beginning)), handle]
    return None


@hookimpl
def vertebra_refuse_preset(handle: PresetHandle) -> str | None:
    # It is asked about the mirror's address, too, and about the resolved revision.
    return next((reason for glob, reason in REFUSED.items() if fnmatchcase(str(handle), glob)), None)


@hookimpl
def vertebra_preset_loaded(loaded: LoadedPreset) -> None:
    LOG.info("loaded %s as %s", loaded.handle, loaded.backbone)
