"""Saves an adapter; all processes of a mesh write it together."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from vertebra._discovery import runtimes
from vertebra._lora.files.adapter_data import AdapterData
from vertebra._lora.files.dispatch import write_adapter
from vertebra._lora.state import require_adapters
from vertebra._placement.agreement import agree
from vertebra._placement.processes import Steps, group_of
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
