"""Parses Kaggle handles: a variation of a model for one framework, and optionally one of its numbered versions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vertebra import PresetHandle
from vertebra.errors import HandleError, PresetNotFoundError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
MOST_VERSION = 10**9 - 1
"""The largest version that a handle can name."""
_SHAPE = "kaggle://owner/model/framework/variation, optionally followed by /VERSION"


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
    """Returns the variation that a handle names, with or without a version.

    Raises:
        HandleError: the handle is not valid on Kaggle.
        PresetNotFoundError: the handle has a revision after `@`; on Kaggle, the version belongs to the path.
    """
    names = handle.path.split("/")
    if len(names) not in (4, 5):
        raise HandleError(str(handle), f"it has {len(names)} names; write {_SHAPE}")
    for name in names[:4]:
        if not _NAME.fullmatch(name):
            raise HandleError(str(handle), f"{name!r} is not a valid name on Kaggle")
    if len(names) == 5 and not _VERSION.fullmatch(names[4]):
        raise HandleError(str(handle), f"{names[4]!r} is not a version; write {_SHAPE}")
    if handle.revision is not None:
        raise PresetNotFoundError(
            handle, f"write a version at the end of the path: {handle.scheme}://{'/'.join(names[:4])}/1"
        )
    return Variation(*names[:4])


def version_of(handle: PresetHandle) -> int | None:
    """Returns the version that a handle names, or None for the newest."""
    names = handle.path.split("/")
    pinned = len(names) == 5 and handle.revision is None and _VERSION.fullmatch(names[4])
    return int(names[4]) if pinned else None
