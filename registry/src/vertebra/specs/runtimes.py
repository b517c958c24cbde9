"""The devices of runtimes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a runtime can compute on."""

    name: str
    """The backend's name of the device, such as `cuda:0`."""
    kind: str
    """`cpu`, `gpu` or `tpu`."""
    memory_bytes: int | None = None
    """The device's total memory, or None if unknown."""
    free_bytes: int | None = None
    """The device's free memory, or None if unknown."""
