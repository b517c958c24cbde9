"""The names of an adapter's files, in a list of files."""

from __future__ import annotations

from collections.abc import Collection

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
"""Tensors as PEFT wrote them before safetensors; never opened."""
SUFFIXES = (".lora.h5", ".safetensors")
"""Endings of adapters that are a single file."""


def single_files(names: Collection[str]) -> list[str]:
    """Returns the files that may each be an adapter, without those in subfolders."""
    return sorted(name for name in names if name.endswith(SUFFIXES) and "/" not in name and name != TENSORS)


def subfolders(names: Collection[str]) -> list[str]:
    """Returns the subfolders that hold an adapter in PEFT's format."""
    return sorted(name.removesuffix(f"/{CONFIG}") for name in names if name.endswith(f"/{CONFIG}"))
