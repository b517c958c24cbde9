"""Presets: built-in ids, files, and what a load tells policies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vertebra.handles import PresetHandle


_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|git:[0-9a-f]{40}|md5:[0-9a-f]{32}", flags=re.IGNORECASE)
_DIGESTS = "sha256: and 64 hexadecimal digits, sha512: and 128, md5: and 32, git: and 40, or None"


MOST_FILES = 100_000
"""The most files of a preset."""
MOST_BYTES = 2**50
"""The size of a file up to which sizes are believed; no file system has larger files of use."""


class FileSizeError(ValueError):
    """A file has a size that no file has, as a service may list it."""


@dataclass(frozen=True, slots=True)
class PresetSpec(Mapping[str, Any]):
    """A built-in preset of an architecture; also a mapping with keys of KerasHub's: `metadata`, and `SCHEME_handle`."""

    name: str
    """The id for `from_preset`, unique among all installed presets."""
    handle: str
    """The handle of the preset, as text."""
    parameters: int
    """The number of parameters."""
    description: str = ""
    copies: tuple[str, ...] = ()
    """Handles of copies, in order of preference; each is tried if the ones before cannot be read."""
    backbone: str = ""
    """Name of the class, for the hook `vertebra_presets`; a preset in a `BackboneSpec` needs none."""

    def __post_init__(self) -> None:
        check_kinds("PresetSpec", tuple, (self.copies,))
        check_kinds("PresetSpec", str, (self.name, self.handle, *self.copies, self.backbone))

    def __getitem__(self, key: str) -> Any:
        return self._entries()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def _entries(self) -> dict[str, Any]:
        handles = {f"{handle.partition('://')[0]}_handle": handle for handle in (*reversed(self.copies), self.handle)}
        return {"metadata": {"description": self.description, "params": self.parameters}, **handles}


@dataclass(frozen=True, slots=True)
class PresetFile:
    """A file of a preset.

    Raises:
        TypeError: a field is of another type, such as a digest as the third argument.
        ValueError: the size is negative or larger than that of any file, 2^50 bytes, or the digest names no algorithm
            or has another number of digits.
    """

    name: str
    """Path below the preset's folder, with `/` between segments."""
    size: int
    """Bytes."""
    path: Path | None = None
    """The path of the file on this machine, or None if the file must be fetched."""
    digest: str | None = None
    """The file's digest, `sha256:` and 64 hexadecimal digits, or None if the source lists none. Sources may also list
    `sha512:`, `git:`, the id of a blob in git, or `md5:`."""
    identity: tuple[int, int, int, int] | None = field(default=None, compare=False)
    """Device, inode, size and `st_mtime_ns` that `os.stat` gives for `path`, where the file may be replaced while the
    preset is read: the file that is read must be the one that was listed. None if the file cannot be replaced."""
    problem: str | None = None
    """Why the file cannot be read, such as a link to a file that does not exist; None for every other file. A preset
    loads if it does not need the file."""

    def __post_init__(self) -> None:
        self._check("name", self.name, isinstance(self.name, str), "a str")
        self._check("size", self.size, isinstance(self.size, int) and not isinstance(self.size, bool), "an int")
        self._check("path", self.path, self.path is None or isinstance(self.path, Path), "a Path or None")
        self._check("digest", self.digest, self.digest is None or isinstance(self.digest, str), _DIGESTS)
        if not 0 <= self.size <= MOST_BYTES:
            raise FileSizeError(f"PresetFile {self.name!r}: size {self.size:,}: expected 0 to {MOST_BYTES:,} bytes")
        if self.digest is not None and not _DIGEST.fullmatch(self.digest):
            raise ValueError(f"PresetFile {self.name!r}: digest {self.digest!r}: expected {_DIGESTS}")

    def _check(self, field: str, value: object, is_valid: bool, expected: str) -> None:
        if not is_valid:
            raise TypeError(f"PresetFile {self.name!r}: {field} {value!r}: expected {expected}")

    @classmethod
    def of(cls, name: str, path: Path) -> PresetFile:
        """Reads the size and the SHA-256 of a local file, for `RemoteSource.upload`.

        Args:
            name: Name of the file in the preset.
            path: Path of the file on this machine. The result is without it, as a source lists the uploaded file.
        """
        import hashlib  # not at the top: the commands that only list presets do not need it

        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return cls(name, stream.tell(), None, f"sha256:{digest}")


@dataclass(frozen=True, slots=True)
class LoadedPreset:
    """A loaded preset or adapter: the argument of the hook `vertebra_preset_loaded`."""

    requested: str
    """The preset that the caller passed to `from_preset`, or the adapter passed to `load_lora_weights`."""
    handle: PresetHandle
    """The handle that the preset was read from, after rewriting."""
    format: str
    """The format; of an adapter, with `lora:` before it."""
    backbone: str
    """Name of the class."""
    weights: bool
    """Whether weights were loaded, too."""


def check_kinds(owner: str, kind: type, values: Iterable[object]) -> None:
    """Raises TypeError unless all values are of a kind."""
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{owner}: got {value!r}, expected a {kind.__name__}")
