"""KerasHub's `.lora.h5`: variables of Keras's own LoRA, which works by heads, under the numbers of the layers.

Keras factors a kernel on all its axes but the last: `a` has the kernel's shape with the rank instead of the last axis,
and `b` is `(rank, last axis)`. The file has neither alpha nor names of layers: alpha equals the rank, and a layer's
number is its index among KerasHub's layers with weights.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from vertebra._lora.files.adapter_data import AdapterData, AdapterFile
from vertebra._lora.files.adapter_files import AdapterFiles
from vertebra._lora.files.foreign_names import KerasHubNames
from vertebra._lora.files.plain_lora import matrices
from vertebra._lora.layers.adapter_layers import Values
from vertebra._lora.layers.linear_view import is_adaptable, view_of
from vertebra._lora.plan import AdapterPlan, LayerPlan
from vertebra._system.log import log
from vertebra._weights.hdf5.mapping import map_hdf5
from vertebra._weights.hdf5.writing import write_datasets
from vertebra._weights.layer_paths import layer_paths
from vertebra.builtin.keras_lora import KerasLora
from vertebra.errors import AdapterMismatchError, LoraConfigError
from vertebra.specs import LoraConfig

Array = np.ndarray[Any, Any]

_RANK = "lora/vars/rank"
_TENSOR = re.compile(r"lora/(\d{1,6})/vars/lora_kernel_([ab])")


# === Reading ===


def read_kerashub(model: Any, files: AdapterFiles, path: Path) -> AdapterFile:
    """Reads a file that KerasHub wrote.

    Args:
        model: The model.
        files: The files of the adapter, for messages.
        path: The local path of its only file.

    Raises:
        WeightsFileError: the file is corrupt.
        AdapterMismatchError: the layer numbers or shapes do not fit this architecture.
        LoraConfigError: the rank is out of range.
    """
    source = files.source
    (file,) = map_hdf5([path])
    names, layers = KerasHubNames(model), layer_paths(model)
    tensors_by_layer, unknown = _sort(file.header.entries, names)
    if unknown or not tensors_by_layer or _RANK not in file.header.entries:
        problem = "is not a .lora.h5 of this architecture; it holds" if unknown else "holds no adapter"
        raise AdapterMismatchError(source, problem, unknown)
    rank = _rank(source, np.asarray(file.view(_RANK)))
    plan, values = AdapterPlan(LoraConfig(rank, strategy=KerasLora.name), {}), Values()
    for layer, tensors in tensors_by_layer.items():
        if layer not in layers or not is_adaptable(layers[layer]) or tensors.keys() != {"a", "b"}:
            raise AdapterMismatchError(
                source, "lacks tensors, or holds tensors of a layer that cannot be adapted", [layer]
            )
        view = view_of(layers[layer])
        heads = names.heads(layer, view.out_features)
        a, b = (np.asarray(file.view(tensors[variable])) for variable in ("a", "b"))
        theirs = names.kernel_shape(layer) or (view.in_features, view.out_features)
        if a.shape != (*theirs[:-1], rank):
            raise AdapterMismatchError(source, "holds tensors of another shape", [f"{tensors['a']} {a.shape}"])
        axes = names.axes(layer) or tuple(range(a.ndim))
        values[layer] = {"a": a.transpose(axes).reshape(view.in_features, heads * rank), "b": b}
        plan.layers[layer] = LayerPlan(rank, float(rank), heads)
    return AdapterFile(files, plan, values)


def _rank(source: str, stored: Array) -> int:
    if stored.size != 1 or stored.dtype.kind not in "iu":
        raise LoraConfigError(source, "rank", stored.tolist(), "one whole number")
    return int(stored.reshape(-1)[0])


def _sort(entries: Any, names: KerasHubNames) -> tuple[dict[str, dict[str, str]], list[str]]:
    tensors_by_layer: dict[str, dict[str, str]] = {}
    unknown = []
    for dataset in sorted(entries, key=_number):
        tensor = _TENSOR.fullmatch(dataset)
        layer = names.paths.get(int(tensor[1])) if tensor else None
        if tensor and layer:
            tensors_by_layer.setdefault(layer, {})[tensor[2]] = dataset
        elif dataset != _RANK:
            unknown.append(dataset)
    return tensors_by_layer, unknown


def _number(dataset: str) -> tuple[int, str]:
    tensor = _TENSOR.fullmatch(dataset)
    return int(tensor[1]) if tensor else -1, dataset


# === Writing ===


def write_kerashub(model: Any, stage: Path, plan: AdapterPlan, data: AdapterData) -> None:
    """Writes an adapter as KerasHub reads it after `enable_lora(rank)` on the same layers.

    Raises:
        LoraConfigError: KerasHub has no such architecture, or the format cannot represent the adapter.
    """
    names = KerasHubNames(model)
    numbers = {path: number for number, path in names.paths.items()}
    unknown = [path for path in plan.layers if path not in numbers] + list(data.co_trained)
    if unknown:
        expected = "adapters of layers that KerasHub has in this architecture, and no co-trained base weights"
        raise LoraConfigError(".lora.h5", "adapter", ", ".join(unknown), expected)
    pairs = _own_pairs(plan, data) if plan.strategy.per_head else _by_heads(model, names, plan, data)
    changes = [b for _, a, b in pairs.values() if a.any() and b.any()]
    rank = max(b.shape[0] for b in changes or [b for _, _, b in pairs.values()])
    _tell_rank(rank, plan)
    datasets = {_RANK: np.array(rank, "int64")}
    for path, (heads, a, b) in pairs.items():
        group = f"lora/{numbers[path]}/vars/lora_kernel_"
        a, b = _with_rank(a, b, heads, rank)
        datasets |= {f"{group}a": _to_axes(a, names, path, rank), f"{group}b": b}
    write_datasets(stage, datasets)


def _own_pairs(plan: AdapterPlan, data: AdapterData) -> dict[str, tuple[int, Array, Array]]:
    scale = {path: np.float32(plan.strategy.scale(layer.rank, layer.alpha)) for path, layer in plan.layers.items()}
    return {
        path: (layer.heads, data.values[path]["a"] * scale[path], data.values[path]["b"])
        for path, layer in plan.layers.items()
    }


def _by_heads(
    model: Any, names: KerasHubNames, plan: AdapterPlan, data: AdapterData
) -> dict[str, tuple[int, Array, Array]]:
    """Returns the change in factors by heads; `b` is the same for all heads, so it holds the rows of all of them."""
    factors = {}
    for path, (a, b) in matrices(model, plan, data).items():
        heads = names.heads(path, b.shape[1])
        rows = b.reshape(b.shape[0] * heads, -1)
        coordinates, basis = _factors(rows)
        by_head = np.einsum("ir,rhk->ihk", a, coordinates.reshape(b.shape[0], heads, -1))
        factors[path] = heads, by_head.reshape(a.shape[0], -1), basis
    return factors


def _factors(rows: Array) -> tuple[Array, Array]:
    """Returns two matrices whose product is a matrix, with the smallest inner dimension that it allows.

    The product is exact unless the rows or columns depend on each other, as those of an adapter from KerasHub do after
    a conversion to PEFT's format: then it is rounded.
    """
    left, sizes, right = np.linalg.svd(rows.astype("float64"), full_matrices=False)
    rank = int((sizes > sizes[0] * max(rows.shape) * np.finfo("float32").eps).sum())
    if 0 < rank < len(sizes):
        return (left[:, :rank] * sizes[:rank]).astype(rows.dtype), right[:rank].astype(rows.dtype)
    count, width = rows.shape
    return (np.eye(count, dtype=rows.dtype), rows) if count <= width else (rows, np.eye(width, dtype=rows.dtype))


def _tell_rank(rank: int, plan: AdapterPlan) -> None:
    """Warns that KerasHub needs another rank than the adapter has."""
    trained = max(layer.rank for layer in plan.layers.values())
    if rank != trained:
        log.warning(
            "The adapter of rank %d has rank %d in KerasHub's format, in which the heads of a layer share a matrix: "
            "call enable_lora(%d) in KerasHub before loading it. strategy=%r trains that form, and keeps the rank.",
            *(trained, rank, rank, KerasLora.name),
        )


def _with_rank(a: Array, b: Array, heads: int, rank: int) -> tuple[Array, Array]:
    """Pads both factors with zeros up to a rank: KerasHub has one for all layers. Cuts those that change nothing."""
    by_head, more = a.reshape(a.shape[0], heads, -1)[..., :rank], max(0, rank - b.shape[0])
    by_head = np.pad(by_head, ((0, 0), (0, 0), (0, more)))
    return by_head.reshape(a.shape[0], -1), np.pad(b[:rank], ((0, more), (0, 0)))


def _to_axes(a: Array, names: KerasHubNames, path: str, rank: int) -> Array:
    shape, axes = names.kernel_shape(path), names.axes(path)
    if shape is None:
        return a
    theirs = (*shape[:-1], rank)
    if axes is None:
        return a.reshape(theirs)
    return a.reshape([theirs[axis] for axis in axes]).transpose(np.argsort(axes))
