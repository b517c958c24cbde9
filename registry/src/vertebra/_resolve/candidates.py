"""Finding presets: from what the user wrote to the places where it may be, as the policy plugins send and allow it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vertebra._cache import revisions
from vertebra._discovery.catalog import SOURCES, Entry, catalog, presets
from vertebra._discovery.plugins import Plugin, registry
from vertebra._system.user_warnings import warn
from vertebra.errors import (
    HandleError,
    NameClashError,
    PluginError,
    PresetNotFoundError,
    PresetRefusedError,
    UnknownNameError,
    VertebraError,
    close_names,
)
from vertebra.handles import PresetHandle
from vertebra.interfaces import PresetSource
from vertebra.specs import PresetSpec


def candidate_handles(preset: str | Path, known: PresetHandle | None = None) -> list[PresetHandle]:
    """Returns the places of what an id, a handle or a path means, as the policy plugins rewrite them, first to last.

    Whether the policies allow them is asked of each when it is used.

    Args:
        preset: What the user wrote.
        known: The handle that it means before the policies, or None to find it.

    Raises:
        HandleError: the text cannot be a preset.
        PresetNotFoundError: it means nothing.
        PluginError: a policy failed.
    """
    found = [known] if known else _candidate_handles(str(preset), may_be_id=not isinstance(preset, Path))
    ranks = itertools.zip_longest(*map(_rewrite, found))  # a mirror of the second comes before the first itself
    return list(dict.fromkeys(handle for rank in ranks for handle in rank if handle is not None))


def handle_variants(text: str) -> list[PresetHandle]:
    """Returns all handles that a text may stand for on any machine, rewritten by the policies and not.

    Of a built-in id, these are its own and those of all copies, also where no installed source reads them.
    """
    found = _handles(presets().lookup(text).value[1]) if text in presets() else _candidate_handles(text, may_be_id=True)
    rewritten = [handle for one in found for handle in _rewrite(one)]
    return list(dict.fromkeys([*found, *rewritten]))


def is_plain_path(text: str) -> bool:
    """Says whether a text is neither a handle nor a built-in id, so that it means something on this machine only."""
    return "://" not in text and text not in presets()


def upload_target(place: str | Path) -> PresetHandle:
    """Returns the handle of a place that a preset is to be uploaded to, which the policies allow and do not rewrite.

    Raises:
        HandleError: the text is no such place.
        PresetRefusedError: a policy plugin refused it.
    """
    text = str(place)
    if isinstance(place, str) and "://" in text:
        handle = PresetHandle.parse(text)
    elif isinstance(place, str) and text in presets():
        problem = "it is a built-in preset id, and presets are uploaded to a place"
        raise HandleError(text, problem, "Name the place, as scheme://path or as a path")
    else:
        try:
            handle = _candidate_handles(text, may_be_id=False)[0]
        except PresetNotFoundError as error:
            raise HandleError(text, "it is no place that presets can be uploaded to") from error
    ask_policies(handle)
    return handle


def source_of(handle: PresetHandle, requested: str) -> PresetSource:
    """Returns the source that reads a handle.

    Raises:
        UnknownNameError: none is installed.
        HandleError: the handle has what the source does not take.
    """
    place = "" if requested == str(handle) else f"Preset {requested!r} is at {handle}. "
    likely = [f"Did you mean {text}?" for text in suggested_handles(str(handle))[:1]]
    install = f"Install a plugin that reads {handle.scheme}:// handles; those installed are listed by: vertebra sources"
    hint = place + " ".join([*likely, install])
    entry: Entry[PresetSource] = catalog(SOURCES).lookup(handle.scheme, hint)
    if handle.revision is not None and not entry.value.supports_revisions:
        problem = f"{handle.scheme}:// handles have no '@revision'"
        raise HandleError(str(handle), problem, entry.value.revision_hint)
    if handle.path.startswith("/") and not entry.value.supports_absolute_paths:
        raise HandleError(str(handle), f"the path of a {handle.scheme}:// handle must not begin with '/'")
    return entry.value


def unpinned(handle: PresetHandle) -> PresetHandle:
    """Returns the handle of the same preset at whichever revision."""
    source = _installed(handle)
    if source is not None:
        with contextlib.suppress(VertebraError):
            return source.unpinned(handle)
    return handle.without_revision()


def is_revision(pinned: PresetHandle, handle: PresetHandle) -> bool:
    """Returns whether a pinned handle is a revision of the preset that another handle names, as its source says.

    Where no installed source can say, only handles of the same path count as of the same preset.
    """
    source = _installed(handle)
    if source is not None and source.is_remote:
        return revisions.is_revision(source, pinned, handle)
    return pinned.without_revision() == handle.without_revision()


def is_misnamed(pinned: PresetHandle, handle: PresetHandle) -> bool:
    """Returns whether an installed source says that a pinned handle is of another preset than a handle names."""
    return _installed(handle) is not None and not is_revision(pinned, handle)


def _candidate_handles(text: str, may_be_id: bool) -> list[PresetHandle]:
    if "://" in text and may_be_id:
        return [PresetHandle.parse(text)]
    if text in presets() and may_be_id:
        return _readable(presets().lookup(text).value[1])
    for entry in catalog(SOURCES):
        handle = _ask_source(entry, text)
        if handle is not None:
            return [handle]
    likely = suggested_handles(text) or close_names(text, [entry.name for entry in presets()])
    raise PresetNotFoundError(text, "it is no built-in preset id, no folder and no handle", likely)


def suggested_handles(text: str) -> list[str]:
    """Returns handles that a text which means nothing may have been meant as."""
    scheme, _, rest = text.partition(":")
    if not rest.startswith("//"):
        with contextlib.suppress(HandleError):
            handle = PresetHandle.parse(f"{scheme}://{rest.lstrip('/')}")
            if _installed(handle) is not None:
                return [str(handle)]
    found = []
    for entry in catalog(SOURCES):
        with contextlib.suppress(Exception):  # a hint must not be what fails
            found.append(entry.value.suggest(text))
    return [handle for handle in found if handle is not None]


def _readable(preset: PresetSpec) -> list[PresetHandle]:
    """Returns those of a built-in preset's places that installed sources read, or else its own."""
    handles = _handles(preset)
    return [handle for handle in handles if _installed(handle) is not None] or handles[:1]


def _handles(preset: PresetSpec) -> list[PresetHandle]:
    return [PresetHandle.parse(text) for text in (preset.handle, *preset.copies)]


def _installed(handle: PresetHandle) -> PresetSource | None:
    """Returns the source that reads a handle, if just one is installed."""
    with contextlib.suppress(UnknownNameError, NameClashError):
        entry: Entry[PresetSource] = catalog(SOURCES).lookup(handle.scheme)
        return entry.value
    return None


def _ask_source(entry: Entry[PresetSource], text: str) -> PresetHandle | None:
    try:
        return entry.value.handle_for(text)
    except VertebraError:
        raise
    except Exception as error:  # what one source makes of the text must not keep the others from it
        warn(f"{entry.owner}: handle_for({text!r}) failed ({error}), so this source was left out")
        return None


def _rewrite(handle: PresetHandle) -> list[PresetHandle]:
    found = [handle]
    for plugin, rewrite in registry().implementations("vertebra_rewrite_handle"):
        found = [rewritten for handle in found for rewritten in _ask_rewriter(plugin, rewrite, handle)]
    return found


def _ask_rewriter(plugin: Plugin, rewrite: Callable[..., Any], handle: PresetHandle) -> list[PresetHandle]:
    try:
        answer = rewrite(handle=handle)
    except Exception as error:
        raise PluginError(plugin.name, f"vertebra_rewrite_handle failed on {handle} ({error})") from error
    if answer is None:
        return [handle]
    found = list(answer) if isinstance(answer, list | tuple) else [answer]
    if not found or not all(isinstance(rewritten, PresetHandle) for rewritten in found):
        problem = f"vertebra_rewrite_handle returned {answer!r}, expected a PresetHandle, several, or None"
        raise PluginError(plugin.name, problem)
    return found


def ask_policies(handle: PresetHandle) -> None:
    """Raises PresetRefusedError if a policy plugin refuses a handle."""
    for plugin, refuse in registry().implementations("vertebra_refuse_preset"):
        try:
            reason = refuse(handle=handle)
        except Exception as error:  # a policy that is broken must not let everything through
            reason = f"the policy failed ({type(error).__name__}: {error})"
        if reason is not None:
            raise PresetRefusedError(handle, plugin.owner, str(reason))
