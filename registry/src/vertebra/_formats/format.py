"""What every preset format offers; the built-in formats are modules with these names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from vertebra._formats.description import PresetDescription
from vertebra._formats.export import PresetExport
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._weights.file_kind import FileKind


class Format(Protocol):
    """A format of presets."""

    @property
    def NAME(self) -> str:  # noqa: N802 (constants of the modules)
        """Name of the format."""

    @property
    def FILES(self) -> FileKind:  # noqa: N802
        """The kind of weights file."""

    @property
    def WRITES(self) -> tuple[str, ...]:  # noqa: N802
        """Files that `write` writes in addition to the weights."""

    @property
    def KEEPS_CONFIG(self) -> bool:  # noqa: N802
        """Whether a conversion keeps the config for its unread fields."""

    def recognises(self, config: Mapping[str, Any], /) -> bool:
        """Says whether a config is in this format."""

    def reads_tokenizer(self, tokenizer: Mapping[str, Any], /) -> bool:
        """Says whether readers of this format understand a `tokenizer.json`."""

    def read(self, folder: PresetFolder, config: Mapping[str, Any], asked: type | None = None, /) -> PresetDescription:
        """Reads a config; `asked` is the class that the user asked for, or None for any."""

    def write(self, export: PresetExport, stage: Path, max_shard_size: float | None, /) -> list[str]:
        """Writes a preset into an empty folder, and returns the fields of `export.original` that were left out."""
