"""The names of the files by which presets and adapters are recognised."""

from __future__ import annotations

import re
from collections.abc import Collection

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_PICKLE",
    "ADAPTER_SUFFIXES",
    "ADAPTER_TENSORS",
    "CERTIFICATE",
    "CONFIG",
    "PICKLE_SUFFIXES",
    "SIGNATURE",
    "TOKENIZER",
    "TORCH_SUFFIXES",
    "WEIGHTS_SUFFIXES",
    "adapter_files",
    "adapter_folders",
    "has_config",
    "holds_any",
]

CONFIG = "config.json"
"""The config of a preset."""
TOKENIZER = "tokenizer.json"
"""The tokenizer of a preset, in the format of transformers or of KerasHub."""
CERTIFICATE = "certificate.safetensors"
"""The parity certificate of a preset: a sample's inputs and outputs, and no weights."""
SIGNATURE = "model.sig"
"""The signature of all other files of a preset or adapter, under the name that OpenSSF Model Signing gives it."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_TENSORS = "adapter_model.safetensors"
ADAPTER_PICKLE = "adapter_model.bin"
"""Tensors as PEFT wrote them before safetensors: a pickle, which only `vertebra lora convert` reads."""
ADAPTER_SUFFIXES = (".lora.h5", ".safetensors")
"""Endings of adapters that are a single file."""
TORCH_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
"""Endings of files of torch.save, which are pickles."""
PICKLE_SUFFIXES = (*TORCH_SUFFIXES, ".pkl", ".pickle")
"""Endings of pickles, of torch or others."""
WEIGHTS_SUFFIXES = (
    *(*PICKLE_SUFFIXES, ".safetensors", ".h5", ".hdf5", ".keras", ".npz", ".npy", ".msgpack"),
    *(".gguf", ".ggml", ".onnx", ".tflite", ".pb"),
)
"""Endings of files in which any library stores weights."""
_WEIGHTS = re.compile(r"(adapter_)?model([.-].*)?\.safetensors")
"""Weights of a model, or of an adapter in PEFT's format."""


def has_config(names: Collection[str]) -> bool:
    """Returns whether files include the config of a preset, or of an adapter in PEFT's format."""
    return CONFIG in names or ADAPTER_CONFIG in names


def holds_any(names: Collection[str]) -> bool:
    """Returns whether files include a preset or an adapter of any format."""
    return has_config(names) or bool(adapter_files(names))


def adapter_files(names: Collection[str]) -> list[str]:
    """Returns the files that may each be an adapter: not in subfolders, and of no model's own files."""
    found = (name for name in names if name.endswith(ADAPTER_SUFFIXES) and "/" not in name)
    return sorted(name for name in found if name != CERTIFICATE and not _WEIGHTS.fullmatch(name))


def adapter_folders(names: Collection[str]) -> list[str]:
    """Returns the subfolders that hold an adapter in PEFT's format."""
    return sorted(name.removesuffix(f"/{ADAPTER_CONFIG}") for name in names if name.endswith(f"/{ADAPTER_CONFIG}"))
