"""Describes an adapter from its files: settings, names and sizes, read from headers without any value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.files.adapter_data import base_of
from vertebra._lora.files.dispatch import existing, model_of, short_header
from vertebra._lora.files.peft_config import TENSORS, read_config
from vertebra._presets.inspect import describe_tensor
from vertebra._weights.hdf5.mapping import open_hdf5_headers
from vertebra._weights.safetensors.format import open_header
from vertebra._weights.tensor_entry import TensorEntry
from vertebra.errors import AdapterMismatchError

CO_TRAINED = "beside"
"""Key of the co-trained weights in the data that `describe_adapter` returns."""
_SHORT = re.compile(r"(?P<layer>.+)/lora/[^/]+")
_PEFT = r"(?:base_model\.model\.)?(?P<layer>.+)\.(?:{})[^.]+(?:\.weight)?"
_LORA = "lora_"
_KERASHUB = re.compile(r"lora/(?P<layer>\d+)/vars/lora_kernel_[ab]")
_NUMBER = re.compile(r"\d+")
_KERASHUB_RANK = "lora/vars/rank"
_FIRST_AXIS_IS_RANK = (".lora_A.weight", ".lora_embedding_A", "/lora_kernel_b")


@dataclass(frozen=True, slots=True)
class _Adapter:
    """An adapter, as the headers of its files describe it."""

    form: str
    strategy: str | None
    """None if no installed strategy computes it."""
    ranks: set[int]
    alphas: set[float]
    layers: Sequence[str]
    """Paths of layers, or in other formats names of modules or numbers of layers."""
    tensors: Mapping[str, TensorEntry]
    co_trained: Sequence[str]
    """Names of those tensors that are base weights, trained with the adapter."""
    base: str | None = None
    model: str | None = None


def describe_adapter(filepath: str | Path) -> dict[str, Any]:
    """Returns a description of an adapter, as plain data.

    Raises:
        AdapterNotFoundError: there is no such file or folder.
        WeightsFileError: a file is corrupt.
        LoraConfigError: a setting is missing or out of range.
        AdapterMismatchError: it holds no adapter.
    """
    path = existing(filepath)
    read = _read_folder if path.is_dir() else _read_hdf5 if path.name.endswith(".h5") else _read_short
    adapter = read(path)
    if not adapter.layers:
        raise AdapterMismatchError(path, "holds no adapter; its tensors are", sorted(adapter.tensors))
    tensors = [describe_tensor(name, adapter.tensors[name]) for name in sorted(adapter.tensors, key=_number_key)]
    co_trained = set(adapter.co_trained)
    return {
        "adapter": str(path),
        "form": adapter.form,
        "strategy": adapter.strategy,
        "ranks": sorted(adapter.ranks),
        "alphas": sorted(adapter.alphas),
        "layers": list(adapter.layers),
        "parameters": sum(tensor["parameters"] for tensor in tensors if tensor["name"] not in co_trained),
        "bytes": sum(tensor["bytes"] for tensor in tensors),
        "base": adapter.base,
        "saved_from": adapter.model,
        CO_TRAINED: sorted(co_trained, key=_number_key),
        "tensors": tensors,
    }


def _read_short(path: Path) -> _Adapter:
    header, plan = short_header(path)
    own = _settings_of(plan.config.strategy)
    return _Adapter(
        form="short",
        strategy=plan.config.strategy,
        ranks={layer.rank for layer in plan.layers.values() if "rank" in own},
        alphas={layer.alpha for layer in plan.layers.values() if "alpha" in own},
        layers=list(plan.layers),
        tensors=header.entries,
        co_trained=_others(_SHORT, header.entries),
        base=base_of(header),
        model=model_of(header),
    )


def _read_folder(folder: Path) -> _Adapter:
    settings = read_config(folder)
    header = open_header(folder / TENSORS)
    strategy = catalog(STRATEGIES).lookup(settings.config.strategy).value
    method = strategy.peft_method
    pattern = re.compile(_PEFT.format(method.prefix if method else _LORA))
    modules = _layers(pattern, header.entries)
    return _Adapter(
        form="peft",
        strategy=settings.config.strategy,
        ranks={settings.layer(module).rank for module in modules} if method and method.rank else _ranks(header.entries),
        alphas={settings.layer(module).alpha for module in modules if "alpha" in strategy.settings},
        layers=modules,
        tensors=header.entries,
        co_trained=_others(pattern, header.entries),
        base=base_of(header),
    )


def _read_hdf5(path: Path) -> _Adapter:
    (header,) = open_hdf5_headers([path])
    ranks = _ranks(header.entries)
    strategies = (str(entry.name) for entry in catalog(STRATEGIES) if entry.value.per_head)
    return _Adapter(
        form="kerashub",
        strategy=next(strategies, None),
        ranks=ranks,
        alphas=set(map(float, ranks)),
        layers=_layers(_KERASHUB, header.entries),
        tensors={name: entry for name, entry in header.entries.items() if name != _KERASHUB_RANK},
        co_trained=[],
    )


def _settings_of(strategy: str) -> tuple[str, ...]:
    """Returns those of rank, alpha and dropout that a strategy has; all, if it is not installed."""
    strategies = catalog(STRATEGIES)
    return strategies.lookup(strategy).value.settings if strategy in strategies else ("rank", "alpha", "dropout")


def _ranks(entries: Mapping[str, TensorEntry]) -> set[int]:
    return {entry.shape[0] for name, entry in entries.items() if name.endswith(_FIRST_AXIS_IS_RANK) and entry.shape}


def _layers(pattern: re.Pattern[str], names: Mapping[str, TensorEntry]) -> list[str]:
    return sorted({match["layer"] for name in names if (match := pattern.fullmatch(name))}, key=_number_key)


def _others(pattern: re.Pattern[str], names: Mapping[str, TensorEntry]) -> list[str]:
    return [name for name in names if not pattern.fullmatch(name)]


def _number_key(name: str) -> str:
    """Returns a sort key that puts `layer.2` before `layer.10`."""
    return _NUMBER.sub(lambda digits: digits[0].zfill(20), name)
