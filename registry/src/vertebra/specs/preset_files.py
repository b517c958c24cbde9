"""The protocols of open presets: their files, and the JSON objects in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from vertebra.handles import PresetHandle

T = TypeVar("T")


class JsonDocument(Protocol):
    """A JSON object of another library: Python's reading, which may hold values that are not clear."""

    @property
    def value(self) -> dict[str, Any]:
        """The object, with NaN as a float and the last value of each repeated key."""

    def read(self, read: Callable[[Mapping[str, Any]], T], meaning: Callable[[T], object]) -> T:
        """Returns `read(value)`, if `meaning` of it is the same for each reading of the values that are not clear.

        Raises:
            PresetConfigError: a value that matters is not clear, such as a key with two values.
        """


class PresetFiles(Protocol):
    """The files of one preset at one revision, as `vertebra.open_files` returns them; fetched when asked for."""

    @property
    def handle(self) -> PresetHandle:
        """The pinned handle."""

    @property
    def names(self) -> set[str]:
        """Names of the files, with `/` between folders."""

    def fetch(self, name: str) -> Path:
        """Returns the local path of a file.

        Raises:
            PresetNotFoundError: the preset has no such file, or it cannot be used.
        """

    def json(self, name: str) -> JsonDocument:
        """Reads a JSON object of at most 8 MiB.

        Raises:
            PresetConfigError: the file is too large, or not a JSON object.
        """

    def require_complete(self) -> None:
        """Raises OfflineError if there may be files that are not in `names`."""
