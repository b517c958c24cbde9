"""What a handle names on Kaggle: one variation of a model for one framework, and one of its numbered versions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vertebra import PresetHandle
from vertebra.errors import HandleError, PresetNotFoundError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_SHAPE = "kaggle://owner/model/framework/variation, or with the number of a version at the end"


@dataclass(frozen=True, slots=True)
class Variation:
    """A variation of a model; its versions are presets."""

    owner: str
    model: str
    framework: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.model}/{self.framework}/{self.name}"


def variation_of(handle: PresetHandle) -> Variation:
    """Returns what a handle names, whichever version.

    Raises:
        HandleError: it names nothing that Kaggle could have.
        PresetNotFoundError: it has a revision, which here is part of the path.
    """
    names = handle.path.split("/")
    if len(names) not in (4, 5):
        raise HandleError(str(handle), f"it has {len(names)} names; write {_SHAPE}")
    for name in names[:4]:
        if not _NAME.fullmatch(name):
            raise HandleError(str(handle), f"Kaggle has nothing with {name!r} as its name")
    if len(names) == 5 and not _VERSION.fullmatch(names[4]):
        raise HandleError(str(handle), f"{names[4]!r} is no version; write {_SHAPE}")
    if handle.revision is not None:
        raise PresetNotFoundError(handle, f"a version of it is written {handle.scheme}://{'/'.join(names[:4])}/1")
    return Variation(*names[:4])


def version_of(handle: PresetHandle) -> int | None:
    """Returns the version that a handle names, or None if it means the newest."""
    names = handle.path.split("/")
    pinned = len(names) == 5 and handle.revision is None and _VERSION.fullmatch(names[4])
    return int(names[4]) if pinned else None
