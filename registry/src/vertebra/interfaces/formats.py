"""The contracts of formats: `PresetFormat`, of presets with a `config.json`, and `FileFormat`, of single files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np

    from vertebra.specs import FileHeader, FileTensor


class PresetFormat:
    """A format of presets: a folder with a `config.json` that has a mark of its own, and safetensors weights.

    The weights are in `model.safetensors`, or in shards with a `model.safetensors.index.json`. An architecture is read
    and written in the format if its `BackboneSpec` has a `FormatSpec` under the format's name: its translation has the
    fields of the config and the names of the tensors.

    Examples:
        >>> class TimmFormat(PresetFormat):  # {"architecture": "vit_base_patch16_224", "num_classes": 0, ...}
        ...     name = "timm"
        ...     identifier_field = "architecture"
    """

    name: ClassVar[str]
    """Name of the format: lower-case letters, digits, `-` and `_`."""
    identifier_field: ClassVar[str | None] = None
    """The field of a config that names the architecture by one of the `identifiers` of a `FormatSpec`; None if no field
    at the top does, so that the class defines `identifier` and `config`."""

    def identifier(self, config: Mapping[str, Any]) -> str | None:
        """Returns the name of the architecture in a config, or None if the config is not in this format.

        It is called with configs of any origin that are in no built-in format.
        """
        value = config.get(self.identifier_field) if self.identifier_field else None
        return value if isinstance(value, str) else None

    def fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the part of a config that a translation reads: by default, the whole config."""
        return config

    def config(self, identifier: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config to write for the fields that a translation returns; `identifier` and `fields` read it.

        Args:
            identifier: The first of the architecture's identifiers.
            fields: The result of `Translation.config`, which may override the identifier.
        """
        return ({self.identifier_field: identifier} if self.identifier_field else {}) | dict(fields)


class FileFormat(PresetFormat, ABC):
    """A format whose presets are single files with everything in them, such as GGUF; it is only read.

    The header of such a file is read as the small files and the names of tensors that a preset of transformers has for
    the same model. So the translations of transformers do the rest, and architectures need no `FormatSpec`. Files come
    from strangers: `header` must refuse unsound ones, and take no more memory than a small multiple of the header.
    """

    suffix: ClassVar[str]
    """The end of the names of such files, such as `.gguf`."""

    @abstractmethod
    def header_end(self, first: bytes) -> int:
        """Returns how many bytes at the beginning of a file `header` needs, as far as the first ones tell.

        It is called again with that many bytes, until it asks for no more: so the header of a remote file is read
        without its tensors.

        Raises:
            WeightsFileError: the bytes are not those of such a file.
        """

    @abstractmethod
    def header(self, path: Path, data: memoryview) -> FileHeader:
        """Reads the header of a file.

        Args:
            path: The file, for messages.
            data: The bytes of the whole file, which is mapped. Those after `header_end` may be zeros.

        Raises:
            WeightsFileError: the file is unsound.
            PresetConfigError: the model in it cannot be read.
        """

    @abstractmethod
    def decode(self, tensor: FileTensor, data: memoryview) -> np.ndarray[Any, Any]:
        """Returns the values of a tensor that has an encoding, as a new array of its dtype and shape.

        Args:
            tensor: The tensor, as `header` describes it.
            data: Its bytes.
        """

    def identifier(self, config: Mapping[str, Any]) -> None:
        """Returns None: a preset is recognised by the name of its file."""
