"""The devices that JAX sees."""

from __future__ import annotations

import os
from typing import Any

import jax

from vertebra import Device


def list_devices() -> list[Device]:
    """Lists every device, with its memory if the backend reports it."""
    return [_cpu(device) if device.platform == "cpu" else _accelerator(device) for device in jax.devices()]


def _cpu(device: Any) -> Device:
    page = os.sysconf("SC_PAGE_SIZE")
    return Device(str(device), "cpu", page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES"))


def _accelerator(device: Any) -> Device:
    statistics = device.memory_stats() or {}
    total, used = statistics.get("bytes_limit"), statistics.get("bytes_in_use")
    free = total - used if total is not None and used is not None else None
    return Device(str(device), device.platform, total, free)
