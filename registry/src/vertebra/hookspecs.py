"""The hooks: read this to write a plugin.

A plugin is a module, named by an entry point of the group `vertebra`, whose functions carry the `hookimpl` marker and
one of the names below. It must import fast: contributions are data that refer to code as `"package.module:attribute"`,
which is imported on first use.

Most hooks register: they take no argument and return a list. The last three are policy hooks, for organisations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vertebra.handles import PresetHandle
    from vertebra.interfaces import LoraStrategy, PresetSource, Runtime
    from vertebra.specs import BackboneSpec, LoadedPreset

PROJECT = "vertebra"
POLICY_HOOKS = ("vertebra_rewrite_handle", "vertebra_refuse_preset", "vertebra_preset_loaded")
"""Hooks that stay in use when another hook of their plugin fails: a policy must not fall with a contribution."""
API_VERSION = 1
"""Version of these hooks and of the interfaces. A plugin names the ones it supports as entry points of the group
`vertebra.api`; a plugin that names none was written for version 1."""

hookimpl = pluggy.HookimplMarker(PROJECT)
_hookspec = pluggy.HookspecMarker(PROJECT)


@_hookspec
def vertebra_backbones() -> list[BackboneSpec]:  # type: ignore[empty-body]
    """Contributes architectures, each with its built-in presets."""


@_hookspec
def vertebra_preset_sources() -> list[PresetSource]:  # type: ignore[empty-body]
    """Contributes places that presets are read from, by the scheme of the handle."""


@_hookspec
def vertebra_lora_strategies() -> list[LoraStrategy]:  # type: ignore[empty-body]
    """Contributes ways of adapting a layer."""


@_hookspec
def vertebra_runtimes() -> list[Runtime]:  # type: ignore[empty-body]
    """Contributes adapters to a Keras backend."""


@_hookspec
def vertebra_rewrite_handle(handle: PresetHandle) -> PresetHandle | Sequence[PresetHandle] | None:
    """Sends a handle elsewhere, such as to a mirror. Returns None to leave it. Called before anything is read.

    Of several handles, each is tried where the one before it has no such preset, or cannot be read.
    """


@_hookspec
def vertebra_refuse_preset(handle: PresetHandle) -> str | None:
    """Returns why the preset must not be used, or None to allow it. Called after rewriting, before anything is read.

    It is called with the handle, and with the pinned one that this is resolved to, if that is another; both must be
    allowed. So a policy by name must allow the revisions of what it allows, and one that knows revisions sees them.

    An implementation that raises refuses: a policy that is broken must not let everything through.
    """


@_hookspec
def vertebra_preset_loaded(loaded: LoadedPreset) -> None:
    """Observes that a preset was loaded. An implementation that raises is reported as a warning."""
