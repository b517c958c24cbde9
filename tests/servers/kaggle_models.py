"""Models as Kaggle keeps them: of an owner, with variations for frameworks, in versions that are numbered from 1."""

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from servers.messages import Content

STEP = 1 << 20


@dataclass(frozen=True)
class ModelFile:
    """A file of a version."""

    content: Content

    @classmethod
    def of(cls, source: bytes | Path | Content) -> "ModelFile":
        return cls(Content.of(source))

    @property
    def size(self) -> int:
        return len(self.content)

    @cached_property
    def md5(self) -> bytes:
        digest = hashlib.md5()
        for start in range(0, self.size, STEP):
            digest.update(bytes(self.content[start : start + STEP]))
        return digest.digest()

    @property
    def headers(self) -> dict[str, str]:
        """What the storage says of the file."""
        return {"x-goog-hash": f"md5={base64.b64encode(self.md5).decode()}", "ETag": f'"{self.md5.hex()}"'}


Version = Mapping[str, ModelFile]
"""The files of a version, by path."""


@dataclass
class Model:
    """A model: a private one is for its owner, one with terms for those who have accepted them."""

    private: bool = False
    accepted: set[str] | None = None
    """Users who have accepted the terms; None if there are none."""
    instances: dict[str, list[Version]] = field(default_factory=dict)
    """Versions, oldest first, by framework and variation."""


def instance_name(framework: str, variation: str) -> str:
    """Returns the name of an instance, for a framework as handles have it ("pyTorch") or as requests do."""
    return f"{framework.removeprefix('MODEL_FRAMEWORK_').replace('_', '').lower()}/{variation}"


def pack(version: Version) -> ModelFile:
    """Returns all files of a version in one archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, file in version.items():
            entry = tarfile.TarInfo(path)
            entry.size = file.size
            archive.addfile(entry, io.BytesIO(bytes(file.content)))
    return ModelFile.of(buffer.getvalue())


def unpack(file: ModelFile) -> dict[str, ModelFile]:
    """Returns the files of an archive, by path."""
    with zipfile.ZipFile(io.BytesIO(bytes(file.content))) as archive:
        return {name: ModelFile.of(archive.read(name)) for name in archive.namelist() if not name.endswith("/")}
