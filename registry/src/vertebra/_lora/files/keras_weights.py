"""What Keras's weights files, `.weights.h5` and `.keras`, hold of adapted layers.

A file has merged kernels, as Keras writes them for its own LoRA: a model without adapters that loads it computes what
was trained. The adapters' variables are in the file, too, with the kernels of the base, so that a model with the same
adapters loads all of them to the bit. A record says for each adapted layer which adapters acted: in a model that knows
adapters for the layer, the kernels of the base are found only if the same ones act.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from vertebra._lora.choices.active import ActiveAdapters
from vertebra._lora.layers.adapter_layers import name_of
from vertebra._lora.layers.kernels import merged_kernel
from vertebra._lora.layers.projections import is_projection, warn_saved
from vertebra.errors import LoraStateError

_MARK = "lora"
"""Entry of a quantised layer whose adapter the file cannot merge: a layer without the adapter refuses to load it."""

_RECORD, _ACTING = "lora_record", "acting"
"""Group below a layer's, which models without adapters do not look for, and its entry: JSON, as bytes."""

_MAX_SLOTS = 16
"""How many adapters are looked for in files from before there were records."""

_refusals: ContextVar[list[_Refusal] | None] = ContextVar("vertebra_lora_refusals", default=None)

Record = list[dict[str, Any]]
"""For each adapter that acts on a layer: its place among all that act, settings, their digest, and strength."""


def save_layer(store: Any, active: ActiveAdapters, path: str, save: Callable[[Any], None]) -> None:
    """Saves a layer with the adapters that act in the model merged into its kernel.

    Args:
        store: Keras's store for the layer's variables.
        acting: What acts in the model.
        path: The layer's path.
        save: The layer's own `save_own_variables`.
    """
    adapter_layers = active.layers.get(path)
    if not adapter_layers:
        save(store)
        return
    view, strengths = adapter_layers[0][1].view, _strengths(active)
    if view.is_quantized:
        save(store)
        store[_MARK] = np.ones(1, "float32")
    else:
        if is_projection(view.layer) and not all(layer.tied for _, layer in adapter_layers):
            warn_saved(path)
        kernel = view.kernel_of(merged_kernel(adapter_layers, strengths).astype("float32"))
        with keras.StatelessScope([(view.variable, kernel)]):
            save(store)
    _write_record(store, _record(adapter_layers, strengths))


def load_layer(store: Any, active: ActiveAdapters, path: str, load: Callable[[Any], None]) -> None:
    """Loads a layer's own variables; its parts, which Keras loads next, give back the kernel of the base.

    Args:
        store: Keras's store for the layer's variables.
        acting: What acts in the model.
        path: The layer's path.
        load: The layer's own `load_own_variables`.

    Raises:
        LoraStateError: other adapters act on the layer than when the file was saved; the layer is unchanged.
    """
    adapter_layers = active.layers.get(path, ())
    refusal = _refusal(store, adapter_layers, _strengths(active), path)
    for _, layer in adapter_layers:
        layer.__dict__.update(refused=refusal and refusal.error)
    if refusal is not None and (refusals := _refusals.get()) is not None:
        refusals.append(refusal)
    if refusal is not None and refusal.is_of_kernel:
        raise refusal.error
    names = list(store.keys())
    load({name: store[name] for name in names if name != _MARK} if _MARK in names else store)


def check_file(load: Callable[[], None]) -> None:
    """Loads a weights file into nothing, so that an error leaves the model unchanged.

    Args:
        load: Loads the file into a model that has adapters.

    Raises:
        LoraStateError: other adapters act than when the file was saved.
    """
    refusals: list[_Refusal] = []
    token = _refusals.set(refusals)
    try:
        with _DiscardScope():
            load()
    except Exception:  # of a mismatch, or a warning of one where warnings are errors
        if not refusals:
            raise
        raise refusals[0].error from None
    finally:
        _refusals.reset(token)
    for refusal in refusals:  # with skip_mismatch, too: Keras would skip layers, and load the others beside them
        if refusal.is_of_kernel:
            raise refusal.error


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a layer, or its parts alone, cannot be loaded."""

    error: LoraStateError
    is_of_kernel: bool
    """Whether the layer's own entry holds another kernel than that of the base."""


class _DiscardScope(keras.StatelessScope):  # type: ignore[misc]
    """A scope in which variables get no values: not even the scope keeps them."""

    def add_update(self, update: Any) -> None:
        """Forgets a value that was assigned."""


def _strengths(active: ActiveAdapters) -> Any:
    return None if active.strengths is None else keras.ops.convert_to_numpy(active.strengths)


def _record(adapter_layers: Sequence[tuple[int, Any]], strengths: Any) -> Record:
    return [
        {
            "place": number,
            "settings": layer.settings.text,
            "digest": layer.settings.digest,
            "strength": 1.0 if strengths is None else float(strengths[number]),
        }
        for number, layer in adapter_layers
    ]


def _write_record(store: Any, record: Record) -> None:
    entry_path = getattr(store, "_h5_entry_path", None)  # of the layer; a store is at one place after the other
    if entry_path is not None:
        store.make(f"{entry_path}/{_RECORD}")[_ACTING] = np.frombuffer(json.dumps(record).encode(), "uint8")


def _refusal(store: Any, adapter_layers: Sequence[tuple[int, Any]], strengths: Any, path: str) -> _Refusal | None:
    """Compares what acts on a layer with what acted on it when the file was saved."""
    entry_path = getattr(store, "_h5_entry_path", None)
    if entry_path is None:
        return None
    record = _record(adapter_layers, strengths)
    if store.has_path(f"{entry_path}/{_RECORD}"):
        found = json.loads(bytes(store.get(f"{entry_path}/{_RECORD}")[_ACTING]))
        store.get(entry_path)
        names, same, text = [""], _compared(found) == _compared(record), _listed(found)
    else:  # saved by a version without records: which parts the layer had is known, and no settings
        names = [name for number in range(_MAX_SLOTS) if store.has_path(f"{entry_path}/{(name := name_of(number))}")]
        same = names == [layer.name for _, layer in adapter_layers]
        text = " and ".join(f"an adapter ({name})" for name in names) or "no adapter"
    return None if same else _Refusal(_error(path, text, _listed(record)), bool(names))


def _compared(record: Record) -> list[tuple[Any, ...]]:
    return [(entry["place"], entry["digest"], entry["strength"]) for entry in record]


def _listed(record: Record) -> str:
    texts = (f"{entry['settings']} (number {entry['place'] + 1}, strength {entry['strength']:g})" for entry in record)
    return " and ".join(texts) or "no adapter"


def _error(path: str, found: str, active: str) -> LoraStateError:
    return LoraStateError(
        f"The weights file was saved while {found} acted on layer {path!r}, where in this model {active} acts",
        "Make adapters of the same settings act, in the same order and at the same strengths, with activate_lora or "
        "disable_lora, and load it then; after unload_lora(), the kernels of the file are loaded as they are, merged",
    )
