"""Candidates: the handles to try for a requested preset, as the policy plugins rewrite and allow them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vertebra._cache import revisions
from vertebra._discovery.catalog import SOURCES, Entry, catalog, failed, presets
from vertebra._discovery.extras import handle_to_install, install_command
from vertebra._discovery.plugin import BUILTIN, Plugin
from vertebra._discovery.plugins import registry
from vertebra._system.user_paths import similar_folders
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
    exception_text,
)
from vertebra.errors.names import failed_plugins
from vertebra.handles import PresetHandle
from vertebra.interfaces import PresetSource
from vertebra.specs import PresetSpec


def candidate_handles(preset: str | Path, known: PresetHandle | None = None) -> list[PresetHandle]:
    """Returns the candidate handles of an id, a handle or a path, after the policies' rewriting, in the order to try.

    The policies are asked for permission when a candidate is used.

    Args:
        preset: The id, handle or path.
        known: Its handle before the policies, or None to look it up.

    Raises:
        HandleError: the text is not a valid handle.
        PresetNotFoundError: the text is no id, no handle, and no path of a preset.
        PluginError: a policy failed.
    """
    handles = [known] if known else _candidate_handles(str(preset), may_be_id=not isinstance(preset, Path))
    ranks = itertools.zip_longest(*map(_rewrite, handles))  # mirrors of all handles come before the originals
    return list(dict.fromkeys(handle for rank in ranks for handle in rank if handle is not None))


def handle_variants(text: str) -> list[PresetHandle]:
    """Returns all handles that a text can refer to on any machine, rewritten by the policies and not.

    For a built-in id, these are its handle and those of all copies, even if no installed source reads them.
    """
    is_id = text in presets()
    handles = _handles(presets().lookup(text).value) if is_id else _candidate_handles(text, may_be_id=True)
    rewritten = [handle for one in handles for handle in _rewrite(one)]
    return list(dict.fromkeys([*handles, *rewritten]))


def is_plain_path(text: str) -> bool:
    """Returns whether a text is neither a handle nor a built-in id, so that it is valid on this machine only."""
    return "://" not in text and text not in presets()


def upload_target(target: str | Path) -> PresetHandle:
    """Returns the handle of an upload's target; the policies must allow it, and do not rewrite it.

    Raises:
        HandleError: presets cannot be uploaded to the target.
        PresetRefusedError: a policy plugin refused it.
    """
    text = str(target)
    if isinstance(target, str) and "://" in text:
        handle = _parsed(text)
    elif isinstance(target, str) and text in presets():
        problem = "it is a built-in preset id, and presets are uploaded to a handle or path"
        raise HandleError(text, problem, "Write the target as scheme://path or as a path")
    else:
        try:
            handle = _candidate_handles(text, may_be_id=False)[0]
        except PresetNotFoundError as error:
            problem = "it is neither a handle nor a path, and presets are uploaded to one of them"
            raise HandleError(text, problem, f"Write the target as scheme://path, or as a path: ./{text}") from error
    ask_policies(handle)
    return handle


def handle_of_path(path: Path) -> PresetHandle:
    """Returns the handle of a local path."""
    return _candidate_handles(str(path), may_be_id=False)[0]


def source_of(handle: PresetHandle, requested: str) -> PresetSource:
    """Returns the source that reads a handle.

    Raises:
        UnknownNameError: no installed plugin has a source for the scheme.
        HandleError: the source does not support the handle's revision or absolute path.
    """
    hint = _hint(handle, requested) if _installed(handle) is None else ""
    entry: Entry[PresetSource] = catalog(SOURCES).lookup(handle.scheme, hint)
    if handle.revision is not None and not entry.value.supports_revisions:
        problem = f"{handle.scheme}:// handles cannot have an '@revision'"
        raise HandleError(str(handle), problem, entry.value.revision_hint)
    if handle.path.startswith("/") and not entry.value.supports_absolute_paths:
        raise HandleError(str(handle), f"the path of a {handle.scheme}:// handle must not begin with '/'")
    return entry.value


def _hint(handle: PresetHandle, requested: str) -> str:
    """Returns what may help a user whose handle no installed source reads."""
    prefix = "" if requested == str(handle) else f"Preset {requested!r} is at {handle}. "
    likely = [f"Did you mean {text}?" for text in suggested_handles(str(handle))[:1]]
    if not likely and (uninstalled := handle_to_install(str(handle))):
        likely = [f"{uninstalled}."]
    if not likely and install_command(handle.scheme, SOURCES.title) is None:
        likely = [f"Install a plugin that reads {handle.scheme}:// handles."]
    return f"{prefix}{''.join(f'{text} ' for text in likely)}List the installed sources with: vertebra sources"


def unpinned(handle: PresetHandle) -> PresetHandle:
    """Returns the handle of the same preset without a revision."""
    source = _installed(handle)
    if source is not None:
        with contextlib.suppress(VertebraError):
            return source.unpinned(handle)
    return handle.without_revision()


def is_revision(pinned: PresetHandle, handle: PresetHandle) -> bool:
    """Returns whether a pinned handle is a revision of the preset that another handle names, according to its source.

    If no installed source reads the handle, only handles with the same path count as the same preset.
    """
    source = _installed(handle)
    if source is not None and source.is_remote:
        return revisions.is_revision(source, pinned, handle)
    return pinned.without_revision() == handle.without_revision()


def is_misnamed(pinned: PresetHandle, handle: PresetHandle) -> bool:
    """Returns whether, according to an installed source, a pinned handle is of another preset than a handle names."""
    return _installed(handle) is not None and not is_revision(pinned, handle)


def _candidate_handles(text: str, may_be_id: bool) -> list[PresetHandle]:
    if "://" in text and may_be_id:
        return [_parsed(text)]
    if text in presets() and may_be_id:
        return _readable(presets().lookup(text).value)
    for entry in sorted(catalog(SOURCES), key=lambda entry: entry.owner.module != BUILTIN):  # paths are the core's
        handle = _ask_source(entry, text)
        if handle is not None:
            return [handle]
    likely = similar_folders(text) + suggested_handles(text) or close_names(text, [entry.name for entry in presets()])
    remedy = "" if likely else handle_to_install(text) or ""
    if not likely and (install := install_command(text)):
        remedy = f"If it is the id of an architecture that is not installed: {install}"
    if not likely and failed():
        remedy = (
            f"{remedy or 'Check the path or id; vertebra presets lists the built-in ids'}.{failed_plugins(failed())}"
        )
    raise PresetNotFoundError(text, "it is neither a built-in preset id, nor a folder, nor a handle", likely, remedy)


def _parsed(text: str) -> PresetHandle:
    """Returns the handle of a text.

    Raises:
        HandleError: the text is not a valid handle; the error names the handle for it, if it is the URL of a page.
    """
    try:
        return PresetHandle.parse(text)
    except HandleError as error:
        likely = suggested_handles(text)
        remedy = f"Did you mean {likely[0]}?" if likely else handle_to_install(text)
        if not remedy:
            raise
        raise HandleError(text, error.problem, remedy) from None


def suggested_handles(text: str) -> list[str]:
    """Returns handles that a user may have meant by an invalid text."""
    scheme, _, rest = text.partition(":")
    if not rest.startswith("//"):
        with contextlib.suppress(HandleError):
            handle = PresetHandle.parse(f"{scheme}://{rest.lstrip('/')}")
            if _installed(handle) is not None:
                return [str(handle)]
    suggestions = []
    for entry in catalog(SOURCES):
        with contextlib.suppress(Exception):  # a failing hint must not replace the error
            suggestions.append(entry.value.suggest(text))
    return [handle for handle in suggestions if handle is not None]


def _readable(preset: PresetSpec) -> list[PresetHandle]:
    """Returns the handles of a built-in preset that installed sources read, or its first handle if there are none."""
    handles = _handles(preset)
    return [handle for handle in handles if _installed(handle) is not None] or handles[:1]


def _handles(preset: PresetSpec) -> list[PresetHandle]:
    return [PresetHandle.parse(text) for text in (preset.handle, *preset.copies)]


def _installed(handle: PresetHandle) -> PresetSource | None:
    """Returns the source that reads a handle, or None if none or several are installed."""
    with contextlib.suppress(UnknownNameError, NameClashError):
        entry: Entry[PresetSource] = catalog(SOURCES).lookup(handle.scheme)
        return entry.value
    return None


def _ask_source(entry: Entry[PresetSource], text: str) -> PresetHandle | None:
    try:
        return entry.value.handle_for(text)
    except VertebraError:
        raise
    except Exception as error:  # other sources must still be asked
        warn(f"{entry.owner}: handle_for({text!r}) failed ({exception_text(error)}), so this source was skipped")
        return None


def _rewrite(handle: PresetHandle) -> list[PresetHandle]:
    handles = [handle]
    for plugin, rewrite in registry().implementations("vertebra_rewrite_handle"):
        handles = [rewritten for handle in handles for rewritten in _ask_rewriter(plugin, rewrite, handle)]
    return handles


def _ask_rewriter(plugin: Plugin, rewrite: Callable[..., Any], handle: PresetHandle) -> list[PresetHandle]:
    try:
        answer = rewrite(handle=handle)
    except Exception as error:
        raise PluginError(
            plugin.name, f"vertebra_rewrite_handle failed on {handle} ({exception_text(error)})"
        ) from error
    if answer is None:
        return [handle]
    rewritten = list(answer) if isinstance(answer, list | tuple) else [answer]
    if not rewritten or not all(isinstance(item, PresetHandle) for item in rewritten):
        problem = f"vertebra_rewrite_handle returned {answer!r}, expected a PresetHandle, a list of them, or None"
        raise PluginError(plugin.name, problem)
    return rewritten


def ask_policies(handle: PresetHandle) -> None:
    """Raises PresetRefusedError if a policy plugin refuses a handle."""
    for plugin, refuse in registry().implementations("vertebra_refuse_preset"):
        try:
            reason = refuse(handle=handle)
        except Exception as error:  # a failing policy must refuse, not allow everything
            reason = f"the policy failed ({exception_text(error)})"
        if reason is not None:
            raise PresetRefusedError(handle, plugin.owner, str(reason))
