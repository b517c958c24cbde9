"""Describes an adapter from its files: settings, names and sizes, read from headers without any value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.files.adapter_data import base_of
from vertebra._lora.files.adapter_files import KERASHUB, PEFT, SHORT, AdapterFiles, read_files
from vertebra._lora.files.dispatch import model_of, short_header
from vertebra._lora.files.peft_config import read_config
from vertebra._lora.files.peft_names import LORA, PREFIX, parse_name
from vertebra._weights.hdf5.mapping import open_hdf5_headers
from vertebra._weights.safetensors.format import header_end, open_header
from vertebra._weights.tensor_entry import Header, TensorEntry, describe_tensor
from vertebra.errors import AdapterMismatchError
from vertebra.file_names import ADAPTER_CONFIG

CO_TRAINED = "beside"
"""Key of the co-trained weights in the data that `describe_adapter` returns."""
_SHORT = re.compile(r"(?P<layer>.+)/lora/[^/]+")
_KERASHUB = re.compile(r"lora/(?P<layer>\d+)/vars/lora_kernel_[ab]")
_NUMBER = re.compile(r"\d+")
_KERASHUB_RANK = "lora/vars/rank"
_FIRST_AXIS_IS_RANK = ("lora_A.weight", "lora_embedding_A")


@dataclass(frozen=True, slots=True)
class _Adapter:
    """An adapter, as the headers of its files describe it."""

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
    base_model: str | None = None


def describe_adapter(adapter: str | Path) -> dict[str, Any]:
    """Returns a description of an adapter, as plain data; of a remote one, only headers are downloaded.

    Args:
        adapter: A path or handle.

    Raises:
        AdapterNotFoundError: there is no adapter at the path or handle.
        WeightsFileError: a file is corrupt.
        LoraConfigError: a setting is missing or out of range.
        AdapterMismatchError: it holds no adapter.
    """
    return read_files(adapter, describe_files)


def describe_files(files: AdapterFiles) -> dict[str, Any]:
    """Returns the result of `describe_adapter` for opened files."""
    paths = files.fetch() if files.format == KERASHUB else files.fetch_headers(header_end)
    adapter = _READERS[files.format](files, *paths)
    files.check_read(paths)
    return _facts(files, adapter)


def describe_peft(files: AdapterFiles, config: Path, header: Header) -> dict[str, Any]:
    """Returns the result of `describe_adapter` for an adapter in PEFT's format.

    Args:
        files: Its files, for messages.
        config: The local path of its config.
        header: The header of its tensors.
    """
    return _facts(files, _peft(files, config, header))


def _facts(files: AdapterFiles, adapter: _Adapter) -> dict[str, Any]:
    if not adapter.layers:
        raise AdapterMismatchError(files.source, "holds no adapter; its tensors are", sorted(adapter.tensors))
    tensors = [describe_tensor(name, adapter.tensors[name]) for name in sorted(adapter.tensors, key=_number_key)]
    co_trained = set(adapter.co_trained)
    return {
        "adapter": files.source,
        "form": files.format,
        "strategy": adapter.strategy,
        "ranks": sorted(adapter.ranks),
        "alphas": sorted(adapter.alphas),
        "layers": list(adapter.layers),
        "parameters": sum(tensor["parameters"] for tensor in tensors if tensor["name"] not in co_trained),
        "bytes": sum(tensor["bytes"] for tensor in tensors),
        "base": adapter.base,
        "base_model": adapter.base_model,
        "saved_from": adapter.model,
        CO_TRAINED: sorted(co_trained, key=_number_key),
        "tensors": tensors,
    }


def _read_short(files: AdapterFiles, path: Path) -> _Adapter:
    header, plan = short_header(files.source, path)
    own = _settings_of(plan.config.strategy)
    return _Adapter(
        strategy=plan.config.strategy,
        ranks={layer.rank for layer in plan.layers.values() if "rank" in own},
        alphas={layer.alpha for layer in plan.layers.values() if "alpha" in own},
        layers=list(plan.layers),
        tensors=header.entries,
        co_trained=[name for name in header.entries if not _SHORT.fullmatch(name)],
        base=base_of(header),
        model=model_of(header),
    )


def _read_peft(files: AdapterFiles, config: Path, tensors: Path) -> _Adapter:
    return _peft(files, config, open_header(tensors))


def _peft(files: AdapterFiles, config: Path, header: Header) -> _Adapter:
    settings = read_config(f"{files.source}/{ADAPTER_CONFIG}", config)
    strategy = catalog(STRATEGIES).lookup(settings.config.strategy).value
    method = strategy.peft_method
    parsed = {name: parse_name(name, method.prefix if method else LORA) for name in header.entries}
    modules = {tensor.module.removeprefix(PREFIX) for tensor in parsed.values() if tensor.matrix}
    rows = [entry for name, entry in header.entries.items() if parsed[name].matrix in _FIRST_AXIS_IS_RANK]
    ranks = {entry.shape[0] for entry in rows if entry.shape}
    return _Adapter(
        strategy=settings.config.strategy,
        ranks={settings.layer(module).rank for module in modules} if method and method.rank else ranks,
        alphas={settings.layer(module).alpha for module in modules if "alpha" in strategy.settings},
        layers=sorted(modules, key=_number_key),
        tensors=header.entries,
        co_trained=[name for name, tensor in parsed.items() if not tensor.matrix],
        base=base_of(header),
        base_model=settings.base_model,
    )


def _read_hdf5(_: AdapterFiles, path: Path) -> _Adapter:
    (header,) = open_hdf5_headers([path])
    ranks = {entry.shape[0] for name, entry in header.entries.items() if name.endswith("_b") and entry.shape}
    layers = {match["layer"] for name in header.entries if (match := _KERASHUB.fullmatch(name))}
    strategies = (str(entry.name) for entry in catalog(STRATEGIES) if entry.value.per_head)
    return _Adapter(
        strategy=next(strategies, None),
        ranks=ranks,
        alphas=set(map(float, ranks)),
        layers=sorted(layers, key=_number_key),
        tensors={name: entry for name, entry in header.entries.items() if name != _KERASHUB_RANK},
        co_trained=[],
    )


def _settings_of(strategy: str) -> tuple[str, ...]:
    """Returns those of rank, alpha and dropout that a strategy has; all, if it is not installed."""
    strategies = catalog(STRATEGIES)
    return strategies.lookup(strategy).value.settings if strategy in strategies else ("rank", "alpha", "dropout")


_READERS: Mapping[str, Callable[..., _Adapter]] = {SHORT: _read_short, PEFT: _read_peft, KERASHUB: _read_hdf5}


def _number_key(name: str) -> str:
    """Returns a sort key that puts `layer.2` before `layer.10`."""
    return _NUMBER.sub(lambda digits: digits[0].zfill(20), name)
