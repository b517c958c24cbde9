"""Adapted layers in Keras's weights files, `.weights.h5` and `.keras`.

A file has merged kernels and biases, as Keras writes them for its own LoRA: a model without adapters that loads it
computes the same as the trained model. The file also has the adapters' variables, the base kernels and the base biases,
so that a model with the same adapters loads all of them to the bit. For each adapted layer a record lists the active
adapters: a model that has adapters for the layer loads the file only if the same adapters are active.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from vertebra._lora.choices.active import ActiveAdapters
from vertebra._lora.layers.adapter_layers import name_of
from vertebra._lora.layers.kernels import merged_layer
from vertebra._lora.layers.projections import is_projection, warn_saved
from vertebra.errors import LoraStateError

_MARK = "lora"
"""Entry of a quantised layer, whose adapter cannot be merged: a layer without the adapter refuses to load it."""

_RECORD, _ACTING = "lora_record", "acting"
"""Group in a layer's group, which models without adapters ignore, and its entry: JSON, as bytes."""

_MAX_SLOTS = 16
"""Maximum number of adapters to look for in files without records."""

_refusals: ContextVar[list[_Refusal] | None] = ContextVar("vertebra_lora_refusals", default=None)

Record = list[dict[str, Any]]
"""For each active adapter of a layer: its number among the active adapters, settings, their digest, and strength."""


def save_layer(store: Any, active: ActiveAdapters, path: str, save: Callable[[Any], None]) -> None:
    """Saves a layer with the active adapters merged into its kernel.

    Args:
        store: Keras's store for the layer's variables.
        active: The active adapters of the model.
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
        merged = merged_layer(path, adapter_layers, strengths)
        with keras.StatelessScope(list(zip(merged.variables(), merged.values(), strict=True))):
            save(store)
    _write_record(store, _record(adapter_layers, strengths))


def load_layer(store: Any, active: ActiveAdapters, path: str, load: Callable[[Any], None]) -> None:
    """Loads a layer's own variables; its adapter layers, which Keras loads next, restore the base kernel.

    Args:
        store: Keras's store for the layer's variables.
        active: The active adapters of the model.
        path: The layer's path.
        load: The layer's own `load_own_variables`.

    Raises:
        LoraStateError: the layer has other active adapters than when the file was saved; the layer is unchanged.
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


def check_file(model: Any, load: Callable[[], None]) -> None:
    """Loads a weights file in a dry run, so that an error leaves the model unchanged.

    Args:
        model: The model, which has adapters.
        load: Loads the file into it.

    Raises:
        LoraStateError: the active adapters differ from those when the file was saved.
    """
    refusals: list[_Refusal] = []
    token = _refusals.set(refusals)
    try:
        with _without_optimizer(model), _DiscardScope():
            load()
    except Exception:  # Keras raises for a mismatch, and for its warning where warnings are errors
        if not refusals:
            raise
        raise refusals[0].error from None
    finally:
        _refusals.reset(token)
    for refusal in refusals:  # even with skip_mismatch, for which Keras would skip only the layers that refuse
        if refusal.is_of_kernel:
            raise refusal.error


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a layer, or only its adapter layers, cannot be loaded."""

    error: LoraStateError
    is_of_kernel: bool
    """Whether the layer's own entry holds a kernel that is not the base kernel."""


@contextlib.contextmanager
def _without_optimizer(model: Any) -> Iterator[None]:
    """Hides a model's optimizer: Keras makes another one to load it, which a scope without state does not allow."""
    attributes = vars(model)
    hidden = {"optimizer": attributes.pop("optimizer")} if "optimizer" in attributes else {}
    try:
        yield
    finally:
        attributes.update(hidden)


class _DiscardScope(keras.StatelessScope):  # type: ignore[misc]
    """A scope that discards all values assigned to variables."""

    def add_update(self, update: Any) -> None:
        """Discards an assigned value."""


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
    entry_path = getattr(store, "_h5_entry_path", None)  # of the layer; Keras moves one store from layer to layer
    if entry_path is not None:
        store.make(f"{entry_path}/{_RECORD}")[_ACTING] = np.frombuffer(json.dumps(record).encode(), "uint8")


def _refusal(store: Any, adapter_layers: Sequence[tuple[int, Any]], strengths: Any, path: str) -> _Refusal | None:
    """Returns a refusal if a layer's active adapters differ from those when the file was saved."""
    entry_path = getattr(store, "_h5_entry_path", None)
    if entry_path is None:
        return None
    record = _record(adapter_layers, strengths)
    if store.has_path(f"{entry_path}/{_RECORD}"):
        saved = json.loads(bytes(store.get(f"{entry_path}/{_RECORD}")[_ACTING]))
        store.get(entry_path)
        names, same, text = [""], _compared(saved) == _compared(record), _listed(saved)
    else:  # saved by a version without records: the layer's adapters are known by name, without settings
        names = [name for number in range(_MAX_SLOTS) if store.has_path(f"{entry_path}/{(name := name_of(number))}")]
        same = names == [layer.name for _, layer in adapter_layers]
        text = " and ".join(f"an adapter ({name})" for name in names) or "no adapter"
    return None if same else _Refusal(_error(path, text, _listed(record)), bool(names))


def _compared(record: Record) -> list[tuple[Any, ...]]:
    return [(entry["place"], entry["digest"], entry["strength"]) for entry in record]


def _listed(record: Record) -> str:
    texts = (f"{entry['settings']} (number {entry['place'] + 1}, strength {entry['strength']:g})" for entry in record)
    return " and ".join(texts) or "no adapter"


def _error(path: str, saved: str, active: str) -> LoraStateError:
    return LoraStateError(
        f"The weights file was saved with {saved} active on layer {path!r}, but this model has {active} active on it",
        "Activate adapters of the same settings, in the same order and at the same strengths, with activate_lora or "
        "disable_lora, then load it; after unload_lora(), the file's merged kernels can be loaded",
    )
