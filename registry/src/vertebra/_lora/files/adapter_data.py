"""The data of an adapter file of any format: plan, values, and co-trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._lora.files.adapter_files import AdapterFiles
from vertebra._lora.plan import AdapterPlan
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import Header, layout_of

if TYPE_CHECKING:
    import numpy as np

    from vertebra._lora.layers.adapter_layers import Values


_BASE = "vertebra.base"


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """An adapter read from a file."""

    files: AdapterFiles
    plan: AdapterPlan
    values: Values
    """Values of the adapter's variables."""
    base: str | None = None
    """Fingerprint of the base weights it was trained on, or None if the file has none."""
    co_trained: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    """Values of co-trained weights, by name."""
    unused: tuple[str, ...] = ()
    """Names of tensors for which the model has no layer."""
    head: tuple[str, ...] = ()
    """Those of them that are outside of the backbone, in a head."""
    base_model: str | None = None
    """The base that the file names, such as `org/name@revision`."""
    notes: tuple[str, ...] = ()
    """Unusual properties of the file, for the receipt."""

    @property
    def source(self) -> str:
        """The path or pinned handle."""
        return self.files.source


@dataclass(frozen=True, slots=True)
class AdapterData:
    """The data of an adapter that a file stores in addition to its plan."""

    values: Values
    base: str | None
    co_trained: dict[str, np.ndarray[Any, Any]]


def base_of(header: Header) -> str | None:
    """Returns the fingerprint of the base that the adapter in a file was trained on."""
    return header.metadata.get(_BASE) or None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], metadata: Mapping[str, str]) -> None:
    """Writes arrays as a safetensors file."""
    layouts = {name: layout_of(name, array.dtype.name, array.shape) for name, array in arrays.items()}
    write_tensors(path, {name: partial(_itself, array) for name, array in arrays.items()}, layouts, metadata)


def _itself(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array
