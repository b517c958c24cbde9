"""The registry of preset formats, and detection of a preset's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from vertebra._configuration.settings import settings
from vertebra._discovery import catalog
from vertebra._formats import kerashub, native, transformers
from vertebra._formats.contributed import ContributedFileFormat, ContributedFormat
from vertebra._formats.description import PresetDescription
from vertebra._formats.format import Format
from vertebra._formats.model_type import infer_model_type
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._resolve.unpacked import several_files
from vertebra._system.foreign_json import ForeignDocument
from vertebra.errors import PresetConfigError
from vertebra.file_names import CONFIG
from vertebra.interfaces import FileFormat, PresetFormat

_BUILTIN: dict[str, Format] = {module.NAME: module for module in (native, transformers, kerashub)}


def formats() -> dict[str, Format]:
    """Returns the formats by name: the built-in ones, and those of plugins."""
    return _BUILTIN | {entry.name: _contributed(entry) for entry in catalog.catalog(catalog.FORMATS)}


def written_formats() -> list[str]:
    """Returns the names of the formats in which presets are written."""
    return [name for name, format in formats().items() if not isinstance(format, ContributedFileFormat)]


def _contributed(entry: catalog.Entry[PresetFormat]) -> Format:
    is_file = isinstance(entry.value, FileFormat)
    return ContributedFileFormat(entry.name) if is_file else ContributedFormat(entry)


def format_of(config: Mapping[str, Any]) -> Format | None:
    """Returns the format of a config, or None if no known format recognises it; built-in formats are asked first.

    Raises:
        PluginError: a contributed format fails.
        PresetConfigError: several contributed formats recognise the config, and the settings prefer none.
    """
    builtin = next((format for format in _BUILTIN.values() if format.recognises(config)), None)
    if builtin is not None:
        return builtin
    found = [entry for entry in catalog.catalog(catalog.FORMATS) if _contributed(entry).recognises(config)]
    found = catalog.preferred(found, settings().names("prefer"))
    if len(found) > 1:
        claims = " and ".join(f"{entry.name} of {entry.owner}" for entry in found)
        remedy = "Prefer a plugin with VERTEBRA_PREFER, or exclude one with VERTEBRA_BLOCK"
        raise PresetConfigError(CONFIG, f"it is in several formats: {claims}", remedy)
    return ContributedFormat(found[0]) if found else None


def format_of_preset(config: Mapping[str, Any]) -> Format | None:
    """Returns the format of the config of a preset that was read, or None for an empty config.

    The first configs of transformers have no mark of their format.
    """
    return format_of(config) or (transformers if config else None)


def read_description(folder: PresetFolder, asked: type | None = None) -> PresetDescription:
    """Reads a preset's config in any known format.

    Args:
        folder: The preset.
        asked: The class that the user asked for, or None for any. A config that does not name its architecture is
            read as the class's.

    Raises:
        UnknownNameError: the architecture of a built-in id is not installed.
        PresetNotFoundError: there is no config, and the error names the subfolders that hold a preset; or there are
            several files of which each is a whole preset.
        PresetConfigError: the config is in no known format, or unsound, or a field that matters has two values.
    """
    catalog.backbone_of(folder.requested)
    if (several := several_files(folder)) is not None:
        raise several
    if folder.is_file or (CONFIG not in folder.listed_names and folder.is_complete):
        from vertebra._formats.missing_config import no_config

        raise no_config(folder, lambda config: format_of(config) is not None)
    document = folder.config()
    read = _reader(folder, document, asked)
    with folder.missing_files("files that its config needs"):
        description = document.read(read, _meaning)
    if folder.single_file is not None:
        name = folder.single_file.format.name
        return replace(description, format=name, files=folder.single_file, read_as=description.format)
    if document.other is not None:
        note = f"its {CONFIG} has values that are not clear, in fields that are not used: {document.doubts_text}"
        return replace(description, notes=(*description.notes, note))
    return description


def _reader(
    folder: PresetFolder, document: ForeignDocument, asked: type | None
) -> Callable[[Mapping[str, Any]], PresetDescription]:
    """Returns the function that reads a config, by its format."""
    format = format_of(document.value)
    if format is native:
        document.require_strict()
    if format is not None:
        found: Format = format
        return lambda config: found.read(folder, config, asked)
    model_type, note = infer_model_type(folder, document.value, asked)
    return lambda config: replace(transformers.read(folder, {**config, "model_type": model_type}, asked), notes=(note,))


def _meaning(description: PresetDescription) -> tuple[object, ...]:
    """Returns what a config says about a preset."""
    refine = description.refine  # two partial functions are never equal, but their arguments are
    return description.backbone, description.arguments, description.untied, getattr(refine, "args", refine)
