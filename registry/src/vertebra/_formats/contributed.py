"""Formats that plugins contribute: a `PresetFormat` has the config, and translations have its fields and tensors.

A `FileFormat` is one of single files, which are read as presets of transformers, and not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from vertebra._discovery.catalog import Entry
from vertebra._formats import transformers
from vertebra._formats.architecture import find_owner
from vertebra._formats.carried_fields import with_carried_fields
from vertebra._formats.description import PresetDescription
from vertebra._formats.export import PresetExport
from vertebra._formats.translation import express, load_translation, translation_for
from vertebra._resolve.preset_folder import PresetFolder, origin_of
from vertebra._system.strict_json import dump_json
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.writing import write_safetensors
from vertebra.errors import PluginError, PresetFormatError, VertebraError, exception_text
from vertebra.errors.base import shown
from vertebra.file_names import CONFIG
from vertebra.interfaces import PresetFormat
from vertebra.specs import BUILTIN_FORMATS


class ContributedFormat:
    """A contributed format, with the names that the modules of the built-in formats have."""

    FILES = SAFETENSORS
    WRITES = (CONFIG,)
    KEEPS_CONFIG = True

    def __init__(self, entry: Entry[PresetFormat]) -> None:
        self.NAME = entry.name
        self._format, self._owner = entry.value, entry.owner

    def recognises(self, config: Mapping[str, Any]) -> bool:
        """Says whether a config is in this format."""
        return self._identifier(config) is not None

    def reads_tokenizer(self, tokenizer: Mapping[str, Any]) -> bool:
        """Says whether readers of this format understand a `tokenizer.json`: not the config of a Keras object."""
        return "registered_name" not in tokenizer

    def read(self, folder: PresetFolder, config: Mapping[str, Any], asked: type | None = None) -> PresetDescription:
        """Reads a config with the translation of the architecture that owns its identifier.

        Args:
            folder: The preset.
            config: Its config.
            asked: The class that the user asked for, or None for any: it decides between several owners.

        Raises:
            PresetConfigError: no installed backbone reads the identifier, or a field cannot be honoured.
            PluginError: the format fails.
        """
        field = self._format.identifier_field or f"{self.NAME} architecture"
        owner = find_owner(folder, self.NAME, field, self._identifier(config), asked)
        translation = load_translation(owner, self.NAME, origin_of(folder))
        arguments = translation.arguments(self._fields(config))
        difference = translation.difference(arguments)
        return PresetDescription(self.NAME, folder, owner.value.name, arguments, translation, difference=difference)

    def write(self, export: PresetExport, stage: Path, max_shard_size: float | None) -> list[str]:
        """Writes config and weights.

        Returns:
            The fields of `export.original` that were left out.

        Raises:
            PresetFormatError: no plugin has a translation of the class to this format.
            FormatLimitError: the format cannot represent the export.
            PluginError: the format fails, or writes a config that it does not read.
        """
        spec, translation = translation_for(export.backbone, self.NAME)
        identifiers = spec.formats[self.NAME].identifiers
        fields, tensors = express(export, self.NAME, translation)
        written = self._config(identifiers[0], fields)
        if self._identifier(written) not in identifiers:
            raise PluginError(self._owner.distribution, f"its format {self.NAME} writes a config that it does not read")
        config, left_out = with_carried_fields(
            written,
            export.original,
            self._identifier,
            lambda config: (self._identifier(config), translation.arguments(self._fields(config))),
            (self._format.identifier_field,) if self._format.identifier_field else (),
        )
        (stage / CONFIG).write_bytes(dump_json(config))
        write_safetensors(tensors, stage, max_shard_size)
        return left_out

    def _identifier(self, config: Mapping[str, Any]) -> str | None:
        found: str | None = self._ask("identifier", str | None, config)
        return found

    def _fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._ask("fields", Mapping, config)
        return found

    def _config(self, identifier: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self._ask("config", dict, identifier, fields)
        return made

    def _ask(self, method: str, kind: Any, *arguments: object) -> Any:
        """Calls a method of the plugin's format.

        Raises:
            PluginError: the method fails, or returns a value of another type.
        """
        subject = f"{method} of its format {self.NAME}"
        try:
            answer = getattr(self._format, method)(*arguments)
        except VertebraError:
            raise
        except Exception as error:
            problem = f"{subject} failed ({exception_text(error)})"
            raise PluginError(self._owner.distribution, problem) from error
        if not isinstance(answer, kind):
            raise PluginError(self._owner.distribution, f"{subject} returned {shown(answer)}")
        return answer


class ContributedFileFormat:
    """A contributed format of single files, with the names that the modules of the built-in formats have.

    Args:
        name: The name of the format.
    """

    FILES = SAFETENSORS
    WRITES: tuple[str, ...] = ()
    KEEPS_CONFIG = False

    def __init__(self, name: str) -> None:
        self.NAME = name

    def recognises(self, config: Mapping[str, Any]) -> bool:
        """Returns False: the file is recognised by its name, before there is a config."""
        return False

    def reads_tokenizer(self, tokenizer: Mapping[str, Any]) -> bool:
        """Says whether readers of this format understand a `tokenizer.json`: it is transformers'."""
        return transformers.reads_tokenizer(tokenizer)

    def read(self, folder: PresetFolder, config: Mapping[str, Any], asked: type | None = None) -> PresetDescription:
        """Reads the config that was unpacked of the file."""
        return transformers.read(folder, config, asked)

    def write(self, export: PresetExport, stage: Path, max_shard_size: float | None) -> NoReturn:
        """Raises PresetFormatError: the format is not written."""
        raise PresetFormatError(export.backbone, f"presets are not written in the {self.NAME} format", BUILTIN_FORMATS)
