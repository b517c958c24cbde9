"""Delivers an adapter: a local folder in PEFT's layout, fetched, compared with the base model and checked.

Adapters are read and converted in child processes by the command `vertebra`: the server's process imports no Keras,
and keeps no memory of a base model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vertebra
from vertebra.errors import LoraError
from vertebra_vllm.child import run
from vertebra_vllm.names import adapter_of
from vertebra_vllm.settings import REQUIRE_FINGERPRINT, Settings

_CONFIG, _TENSORS = "adapter_config.json", "adapter_model.safetensors"
_LARGEST_RANK = "512"
"""The largest rank that vLLM can be started with; the server itself compares with its own limit."""


class AdapterRefusedError(LoraError):
    """An adapter is allowed by its name, and is refused for its content."""


@dataclass(frozen=True, slots=True)
class DeliveredAdapter:
    """An adapter that vLLM can load."""

    name: str
    handle: str
    """The pinned handle, or the path."""
    folder: Path
    """A folder in PEFT's layout."""
    number: int
    """An id above 0, the same for the same adapter and base on every machine."""
    fingerprint: str | None
    """The fingerprint of the base, which was compared; None if the adapter records none."""
    notes: tuple[str, ...] = ()


def deliver(name: str, base_model: str, settings: Settings) -> DeliveredAdapter:
    """Resolves the name of an adapter, fetches it, and writes it in PEFT's layout unless that was done before.

    Args:
        name: The name in a request.
        base_model: The model that the server runs.
        settings: The names and limits.

    Raises:
        UnknownAdapterError: the name is not allowed.
        AdapterRefusedError: the adapter belongs to another base, is too large, or cannot be read or used.
        VertebraError: as `vertebra.files`, for an adapter that needs no conversion.
    """
    facts = run("lora", "info", adapter_of(name, settings), "--json")
    _check_limits(facts, settings)
    base = settings.base or (base_model if Path(base_model).is_dir() else f"hf://{base_model}")
    key = _key(facts, base)
    folder = _folder() / key[:32]
    if not (folder / _CONFIG).is_file():
        _write(facts, base, folder)
    notes = () if facts["base"] else (_unknown_base(facts, base_model),)
    return DeliveredAdapter(name, facts["adapter"], folder, int(key[:15], 16) + 1, facts["base"], notes)


def _check_limits(facts: Mapping[str, Any], settings: Settings) -> None:
    if facts["bytes"] > settings.max_bytes:
        limit = f"{settings.max_bytes:,} are allowed; VERTEBRA_VLLM_MAX_BYTES changes the limit"
        raise AdapterRefusedError(f"{facts['adapter']} has tensors of {facts['bytes']:,} bytes, and {limit}")
    if facts["base"] is None and settings.require_fingerprint:
        problem = f"{facts['adapter']} does not record the base model that it was trained on"
        raise AdapterRefusedError(f"{problem}, and {REQUIRE_FINGERPRINT} is set")


def _key(facts: Mapping[str, Any], base: str) -> str:
    """Returns a digest that names an adapter and its base; that of a local adapter changes with its files."""
    source = Path(facts["adapter"])
    files = sorted(source.iterdir()) if source.is_dir() else [source] if source.is_file() else []
    states = [(file.name, (state := file.stat()).st_size, state.st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([facts["adapter"], base, states]).encode()).hexdigest()


def _folder() -> Path:
    folder = vertebra.runtime_folder("vllm")
    if folder is None:
        raise AdapterRefusedError("This user has no cache for adapters. Set VERTEBRA_CACHE to a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(facts: Mapping[str, Any], base: str, folder: Path) -> None:
    """Writes the folder of an adapter, completely or not at all."""
    with tempfile.TemporaryDirectory(prefix="writing-", dir=folder.parent) as working:
        written = Path(working) / "adapter"
        if facts["form"] == "peft" and facts["base"] is None:  # there is nothing to compare or to convert
            _copy(facts["adapter"], written)
        else:
            run("lora", "convert", facts["adapter"], str(written), "--base", base, "--json")
        _check_engine(written)
        try:
            written.replace(folder)
        except OSError:
            if not (folder / _CONFIG).is_file():  # otherwise another process was faster
                raise


def _copy(handle: str, target: Path) -> None:
    target.mkdir()
    for name, path in vertebra.files(handle, _CONFIG, _TENSORS).items():
        shutil.copyfile(path, target / name)


def _check_engine(folder: Path) -> None:
    facts = run("lora", "check", str(folder), "--for", "vllm", "--max-rank", _LARGEST_RANK, "--json", accepted=(0, 1))
    if not facts["used"]:
        reasons = "; ".join(dict.fromkeys(finding["reason"] for finding in facts["findings"]))
        raise AdapterRefusedError(f"vLLM would not use all of the adapter: {reasons}")


def _unknown_base(facts: Mapping[str, Any], base_model: str) -> str:
    named = f"its config names {facts['base_model']!r}" if facts["base_model"] else "its config names none"
    return f"it does not record the fingerprint of its base; {named}, and the server runs {base_model!r}"
