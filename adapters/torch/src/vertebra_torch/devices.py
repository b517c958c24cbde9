"""The devices that PyTorch sees."""

from __future__ import annotations

import os

import torch

from vertebra import Device


def list_devices() -> list[Device]:
    """Lists the processor and every accelerator, with its memory."""
    return [_cpu(), *(_cuda(index) for index in range(torch.cuda.device_count()))]


def _cpu() -> Device:
    page = os.sysconf("SC_PAGE_SIZE")
    return Device("cpu", "cpu", page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES"))


def _cuda(index: int) -> Device:
    free, total = torch.cuda.mem_get_info(index)
    return Device(f"cuda:{index}", "gpu", total, free)
