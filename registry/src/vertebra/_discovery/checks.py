"""Checks of what the hooks of plugins return, before it is used under its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from vertebra.errors import PluginError
from vertebra.interfaces import FileFormat, PresetFormat
from vertebra.specs import CommandSpec, PresetSpec

_COMMAND_NAME = re.compile(r"[a-z][a-z0-9-]*")
_FORMAT_NAME = re.compile(r"[a-z0-9_-]+")  # it is also the name of a folder
_SUFFIX = re.compile(r"\.[a-z0-9]+")


def check_name(plugin: str, title: str, item: Any, name: Callable[[Any], object]) -> None:
    """Checks that a contribution has a name.

    Raises:
        PluginError: it has none, or one that is not a string; or that of a command is not a word.
    """
    try:
        found = name(item)
    except AttributeError as error:
        problem = f"returned a {title} of the class {type(item).__name__}, which has no attribute {error.name!r}"
        raise PluginError(plugin, problem, f"Give the class the attribute {error.name}") from error
    if not isinstance(found, str):
        raise PluginError(plugin, f"returned a {title} named {found!r}, expected a string")
    if isinstance(item, CommandSpec) and not _COMMAND_NAME.fullmatch(found):
        problem = f"returned a {title} named {found!r}"
        raise PluginError(plugin, problem, "Name it with a word of letters from a to z, digits and -")


def check_format(plugin: str, format: PresetFormat) -> None:
    """Checks that a format can name a folder, and says where its configs name the architecture.

    Raises:
        PluginError: its name has other characters, or it has neither an `identifier_field` nor methods in its place, or
            a `FileFormat` has no suffix.
    """
    if not _FORMAT_NAME.fullmatch(format.name):
        problem = f"returned a format named {format.name!r}"
        raise PluginError(plugin, problem, "Name it with letters from a to z, digits, - and _")
    if isinstance(format, FileFormat):
        if not isinstance(getattr(format, "suffix", None), str) or not _SUFFIX.fullmatch(format.suffix):
            problem = f"returned the format {format.name!r}, whose suffix is {getattr(format, 'suffix', None)!r}"
            raise PluginError(plugin, problem, "Set it to a dot and lower-case letters or digits, such as .gguf")
        return
    field, kind = format.identifier_field, type(format)
    names_itself = kind.identifier is not PresetFormat.identifier and kind.config is not PresetFormat.config
    if not isinstance(field, str) and not (field is None and names_itself):
        problem = f"returned the format {format.name!r}, whose identifier_field is {field!r}"
        remedy = (
            "Set it to the field that names the architecture or, without such a field, define identifier and config"
        )
        raise PluginError(plugin, problem, remedy)


def check_preset(plugin: str, preset: PresetSpec) -> None:
    """Checks that a preset names its class.

    Raises:
        PluginError: it names none.
    """
    if not preset.backbone:
        problem = f"returned the preset {preset.name!r} without a backbone"
        raise PluginError(plugin, problem, "Give the PresetSpec the name of its class, such as backbone='X'")
