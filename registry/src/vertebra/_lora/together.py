"""Adapters of backbones on a mesh: all processes load the same one, and write it together."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vertebra._discovery import runtimes
from vertebra._lora.files.adapter_data import AdapterData, AdapterFile
from vertebra._lora.files.dispatch import write_adapter
from vertebra._lora.state import require_adapters
from vertebra._placement.agreement import Fact, agree
from vertebra._placement.processes import Steps, group_of
from vertebra._resolve.candidates import is_plain_path
from vertebra._system.atomic_save import destination


def save_adapter(model: Any, filepath: str | Path, name: str | None) -> None:
    """Saves an adapter of a model; `vertebra.lora.save` documents it."""
    runtime = runtimes.bind()
    with Steps(group_of(runtime, model), "save the adapter") as steps:
        adapters = require_adapters(model)
        adapter = adapters.get(name)
        if steps.group is not None:
            plan = hashlib.sha256(adapter.key.encode()).hexdigest()
            target = str(destination(filepath))
            agree(steps, {"the path": target, "the adapter": adapter.name, "its plan": plan, "its base": adapter.base})

        def content() -> AdapterData:
            values, co_trained = adapters.values_of(adapter.name), adapters.co_trained_of(adapter.name)
            return AdapterData(values, adapter.base, co_trained)

        write_adapter(model, filepath, adapter.plan, content, steps, runtime.own_parts)


@contextlib.contextmanager
def loading_together(model: Any, filepath: str | Path, arguments: Mapping[str, object]) -> Iterator[Steps]:
    """Yields the steps that all processes of a model's mesh take to load an adapter, after comparing the arguments."""
    with Steps(group_of(runtimes.bind(), model), "load the adapter") as steps:
        named = "a path" if is_plain_path(str(filepath)) else str(filepath)
        agree(steps, {"the adapter": named, **arguments})
        yield steps


def agree_on_file(steps: Steps, file: AdapterFile) -> None:
    """Compares the adapters that the processes have read.

    Raises:
        MeshError: one of them has read another adapter, or one of another base.
    """
    if steps.group is None:
        return
    digest = hashlib.sha256(f"{file.plan.key()}\n{file.base}".encode())
    for path, own in sorted(file.values.items()):
        for name, value in sorted(own.items()):
            digest.update(f"{path}/{name} {value.dtype} {value.shape}\n".encode())
            digest.update(np.asarray(value).tobytes())
    for name, value in sorted(file.co_trained.items()):
        digest.update(f"{name} {value.shape}\n".encode() + value.reshape(-1)[:4096].tobytes())
    text = digest.hexdigest()
    agree(steps, {"the adapter": Fact(text, f"{file.source} ({text[:12]})"), "its base": file.base or file.base_model})
