"""The hooks that a plugin can implement.

A plugin is a module, named by an entry point of the group `vertebra`, whose functions carry the `hookimpl` marker and
one of the names below. It must import fast: contributions are data that refer to code as `"package.module:attribute"`,
which is imported on first use.

Most hooks register contributions: they take no argument and return a list. The last three are policy hooks, which let
an organisation redirect, refuse or observe presets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vertebra.handles import PresetHandle
    from vertebra.interfaces import PresetFormat, PresetSource, Runtime, SignatureScheme
    from vertebra.specs import (
        BackboneSpec,
        CommandOptionSpec,
        CommandSpec,
        LoadedPreset,
        PresetSpec,
        TaskSpec,
        TokenizerSpec,
    )
    from vertebra.strategies import LoraStrategy

PROJECT = "vertebra"
POLICY_HOOKS = ("vertebra_rewrite_handle", "vertebra_refuse_preset", "vertebra_preset_loaded")
"""Hooks that stay active when another hook of their plugin fails: a broken contribution must not disable a policy."""
API_VERSION = 1
"""Version of these hooks and of the interfaces. A plugin declares the versions that it supports as entry points of the
group `vertebra.api`; a plugin without a declaration supports version 1."""

hookimpl = pluggy.HookimplMarker(PROJECT)
_hookspec = pluggy.HookspecMarker(PROJECT)


@_hookspec
def vertebra_backbones() -> list[BackboneSpec]:  # type: ignore[empty-body]
    """Contributes architectures, each with its built-in presets."""


@_hookspec
def vertebra_presets() -> list[PresetSpec]:  # type: ignore[empty-body]
    """Contributes built-in ids for architectures of any plugin; each `PresetSpec` names its `backbone`."""


@_hookspec
def vertebra_formats() -> list[PresetFormat]:  # type: ignore[empty-body]
    """Contributes formats of presets, in which architectures are read and written by their translations.

    A `FileFormat` is one of single files, which are read as transformers' presets.
    """


@_hookspec
def vertebra_preset_sources() -> list[PresetSource]:  # type: ignore[empty-body]
    """Contributes sources of presets, one for each handle scheme."""


@_hookspec
def vertebra_lora_strategies() -> list[LoraStrategy]:  # type: ignore[empty-body]
    """Contributes LoRA strategies: ways to adapt a layer."""


@_hookspec
def vertebra_runtimes() -> list[Runtime]:  # type: ignore[empty-body]
    """Contributes runtimes, each for one Keras backend."""


@_hookspec
def vertebra_tasks() -> list[TaskSpec]:  # type: ignore[empty-body]
    """Contributes tasks: classes that add a head to a backbone, such as a classifier."""


@_hookspec
def vertebra_commands() -> list[CommandSpec]:  # type: ignore[empty-body]
    """Contributes subcommands of `vertebra`."""


@_hookspec
def vertebra_command_options() -> list[CommandOptionSpec]:  # type: ignore[empty-body]
    """Contributes options of commands of other plugins."""


@_hookspec
def vertebra_tokenizers() -> list[TokenizerSpec]:  # type: ignore[empty-body]
    """Contributes kinds of tokenizers: the classes that read the tokenizer of a preset."""


@_hookspec
def vertebra_signatures() -> list[SignatureScheme]:  # type: ignore[empty-body]
    """Contributes ways to sign presets and to verify signatures."""


@_hookspec
def vertebra_rewrite_handle(handle: PresetHandle) -> PresetHandle | Sequence[PresetHandle] | None:
    """Rewrites a handle, for example to a mirror. Returns None to keep it. Called before any file is read.

    Several handles are tried in order: the next one is used if a handle has no such preset or cannot be read.
    """


@_hookspec
def vertebra_refuse_preset(handle: PresetHandle) -> str | None:
    """Returns the reason to refuse a preset, or None to allow it. Called after rewriting, before any file is read.

    It is called with the handle, and again with the pinned handle if that differs; both must be allowed. So a policy by
    name must allow the revisions of the presets that it allows, and a policy by revision sees the revision.

    An implementation that raises refuses the preset: a broken policy must not allow everything.
    """


@_hookspec
def vertebra_preset_loaded(loaded: LoadedPreset) -> None:
    """Observes a loaded preset or LoRA adapter. An implementation that raises is reported as a warning."""
