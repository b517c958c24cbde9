"""Describes an adapter from its files: settings, names and sizes, read from headers without any value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.files.adapter_data import base_of
from vertebra._lora.files.adapter_files import KERASHUB, PEFT, SHORT, AdapterFiles, read_files
from vertebra._lora.files.dispatch import model_of, short_header
from vertebra._lora.files.peft_config import PeftSettings, read_config
from vertebra._lora.files.peft_names import LORA, PREFIX, PeftTensor, parse_name, rows_of
from vertebra._lora.files.peft_types import lora_fields, value_for
from vertebra._weights.hdf5.mapping import open_hdf5_headers
from vertebra._weights.safetensors.format import header_end, open_header
from vertebra._weights.tensor_entry import Header, TensorEntry, describe_tensor
from vertebra.builtin.keras_lora import KerasLora
from vertebra.errors import AdapterMismatchError
from vertebra.file_names import ADAPTER_CONFIG
from vertebra.strategies import LoraStrategy

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
    co_trained: Sequence[str] = ()
    """Names of those tensors that are base weights, trained with the adapter."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the strategy, as the file has them."""
    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The strategy and the options of those layers that have another strategy than the adapter."""
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
        "rank_name": _rank_name(adapter.strategy),
        "alphas": sorted(adapter.alphas),
        "options": dict(adapter.options),
        "layers": list(adapter.layers),
        "added_layers": {layer: dict(facts) for layer, facts in adapter.added.items()},
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
    layers = [layer for layer in plan.layers.values() if layer.strategy is None]
    added = {path: layer for path, layer in plan.layers.items() if layer.strategy is not None}
    return _Adapter(
        strategy=plan.config.strategy,
        ranks={layer.rank for layer in layers if "rank" in own},
        alphas={layer.alpha for layer in layers if "alpha" in own},
        options=plan.config.options,
        layers=list(plan.layers),
        added={path: {"strategy": layer.strategy, **layer.options} for path, layer in added.items()},
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
    added, rows = _added(settings.added, header.entries)
    return _Adapter(
        strategy=settings.config.strategy,
        ranks=_ranks(strategy, settings, modules, {parsed[name]: entry for name, entry in header.entries.items()}),
        alphas={settings.layer(module).alpha for module in modules if "alpha" in strategy.settings},
        options=settings.config.options,
        layers=sorted(modules | added.keys(), key=_number_key),
        added=added,
        tensors=header.entries,
        co_trained=[name for name, tensor in parsed.items() if not tensor.matrix and name not in rows],
        base=base_of(header),
        base_model=settings.base_model,
    )


def _ranks(
    strategy: LoraStrategy, settings: PeftSettings, modules: Iterable[str], tensors: Mapping[PeftTensor, TensorEntry]
) -> set[int]:
    """Returns the ranks that the config or the tensors tell."""
    method = strategy.peft_method
    if method is None:
        firsts = (entry.shape[:1] for tensor, entry in tensors.items() if tensor.matrix in _FIRST_AXIS_IS_RANK)
        return {size for first in firsts for size in first}
    if method.rank is not None:
        return {settings.layer(module).rank for module in modules}
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor, entry in tensors.items():
        if tensor.matrix:
            shapes.setdefault(tensor.module, {})[tensor.matrix] = entry.shape
    return {rank for own in shapes.values() if (rank := strategy.peft_rank(own)) is not None}


def _added(fields: Mapping[str, Any], names: Iterable[str]) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Returns the modules that fields of LoRA's config add, with strategy and options, and their tensors' names."""
    added: dict[str, dict[str, Any]] = {}
    tensors: set[str] = set()
    readers = {field: reader for field, reader in lora_fields().items() if field in fields}
    for name, reader in readers.items():
        rows = rows_of(names, PREFIX, reader.method.lora_infix)
        for module, _ in rows.values():
            added[module] = {"strategy": reader.name, reader.method.options[0]: value_for(module, fields[name])}
        tensors |= rows.keys()
    return added, tensors


def _read_hdf5(_: AdapterFiles, path: Path) -> _Adapter:
    (header,) = open_hdf5_headers([path])
    ranks = {entry.shape[0] for name, entry in header.entries.items() if name.endswith("_b") and entry.shape}
    layers = {match["layer"] for name in header.entries if (match := _KERASHUB.fullmatch(name))}
    return _Adapter(
        strategy=KerasLora.name,
        ranks=ranks,
        alphas=set(map(float, ranks)),
        layers=sorted(layers, key=_number_key),
        tensors={name: entry for name, entry in header.entries.items() if name != _KERASHUB_RANK},
    )


def _settings_of(strategy: str) -> tuple[str, ...]:
    """Returns those of rank, alpha and dropout that a strategy has; all, if it is not installed."""
    strategies = catalog(STRATEGIES)
    return strategies.lookup(strategy).value.settings if strategy in strategies else ("rank", "alpha", "dropout")


def _rank_name(strategy: str | None) -> str:
    """Returns what a strategy's rank is called; `rank`, if it is not installed."""
    strategies = catalog(STRATEGIES)
    if strategy is None or strategy not in strategies:
        return LoraStrategy.rank_name
    name: str = strategies.lookup(strategy).value.rank_name
    return name


_READERS: Mapping[str, Callable[..., _Adapter]] = {SHORT: _read_short, PEFT: _read_peft, KERASHUB: _read_hdf5}


def _number_key(name: str) -> str:
    """Returns a sort key that puts `layer.2` before `layer.10`."""
    return _NUMBER.sub(lambda digits: digits[0].zfill(20), name)
