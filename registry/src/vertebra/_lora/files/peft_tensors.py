"""The tensors of a PEFT file, sorted into those of adapters, of co-trained weights, and of a head.

Names begin with PEFT's prefix, with that of a wrapper, such as DDP or a class around the model, or without any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vertebra._lora.files.foreign_names import AdapterNames
from vertebra._lora.files.peft_names import FORMER, LORA, PREFIX, WRAPPERS, PeftTensor, parse_name
from vertebra._lora.files.table_size import size_remedy
from vertebra._weights.safetensors.format import MappedTensors
from vertebra.errors import AdapterMismatchError


@dataclass(slots=True)
class SortedTensors:
    """The tensors of a file by purpose."""

    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The matrices of each adapted module."""
    full_names: dict[str, str] = field(default_factory=dict)
    """The name of each adapted module in PEFT, with the prefixes of wrappers, which the config's patterns match."""
    weights: dict[str, Any] = field(default_factory=dict)
    """The co-trained weights by name in the model."""
    owners: dict[str, str] = field(default_factory=dict)
    """The module that holds each of them in PEFT."""
    unused: list[str] = field(default_factory=list)
    """Names of tensors for which the model has no layer."""
    head: list[str] = field(default_factory=list)
    """Those of them that are outside of the backbone, in a head."""
    notes: list[str] = field(default_factory=list)
    """Unusual properties of the names."""
    prefix: str = PREFIX
    """The beginning of names that is not in the model's."""


def sort_tensors(
    source: object, model: Any, tensors: MappedTensors, names: AdapterNames, matrices: str = LORA
) -> SortedTensors:
    """Sorts the tensors of a file.

    Args:
        source: The adapter, for messages.
        model: The model.
        tensors: The tensors.
        names: The names of the model's layers in PEFT.
        matrices: The start of the names of matrices in the adapter's method.

    Raises:
        AdapterMismatchError: a tensor has another shape than the weight that it holds, the file has several adapters,
            or it has adapters for several parts of a model that each fit.
    """
    parsed = {name: parse_name(name, matrices) for name in tensors.header.entries if FORMER not in name}
    sorted_ = SortedTensors()
    prefix = _prefix(source, [tensor.module for tensor in parsed.values() if tensor.matrix], names)
    sorted_.prefix = prefix
    sorted_.notes += _notes(source, parsed, prefix)
    for name, tensor in parsed.items():
        plain = tensor.module.removeprefix(prefix)
        if tensor.matrix and (layers := names.layers(plain)):
            module = names.module(layers[0])  # without a checkpoint's prefix
            _add(source, sorted_.modules.setdefault(module, {}), tensor.matrix, tensors.view(name), name)
            sorted_.full_names[module] = tensor.module.removeprefix(PREFIX)
        elif not tensor.matrix and (weights := names.weights(plain)):
            array = tensors.view(name)
            _check_shape(source, model, names, weights[0], name, array.shape)
            for weight in weights:
                _add(source, sorted_.weights, weight, names.take(weight, array), name)
                sorted_.owners[weight] = plain.rpartition(".")[0]
        else:
            sorted_.unused.append(name)
            if not names.is_inside(plain):
                sorted_.head.append(name)
    return sorted_


def _prefix(source: object, modules: Sequence[str], names: AdapterNames) -> str:
    """Returns the beginning of names that is not in the model's: PEFT's, and that of wrappers.

    Raises:
        AdapterMismatchError: several prefixes lead to modules of the model, so the file is of a larger model.
    """
    if modules and all(module.startswith(PREFIX) and names.layers(module.removeprefix(PREFIX)) for module in modules):
        return PREFIX
    known = {module: _known_part(module, names) for module in modules}
    prefixes = dict.fromkeys(module.removesuffix(part) for module, part in known.items() if part)
    if len(prefixes) > 1:
        problem = f"has adapters for several parts of a larger model, {_quoted(prefixes)}, that fit this model"
        raise AdapterMismatchError(source, problem, remedy="Save the part that you want with its own names")
    return next(iter(prefixes), PREFIX)


def _known_part(module: str, names: AdapterNames) -> str | None:
    """Returns the longest end of a module's name that names layers of the model, or None."""
    rest = module
    while rest:
        if names.layers(rest):
            return rest
        rest = rest.partition(".")[2]
    return None


def _notes(source: object, parsed: Mapping[str, PeftTensor], prefix: str) -> list[str]:
    adapters = dict.fromkeys(tensor.adapter for tensor in parsed.values() if tensor.adapter)
    if len(adapters) > 1:
        problem = f"holds several adapters: {_quoted(adapters)}"
        raise AdapterMismatchError(
            source, problem, remedy="Save each with PEFT's save_pretrained, which separates them"
        )
    notes = [f"names of tensors contain the name of the adapter, {name!r}" for name in adapters]
    wrapped = [name for name in parsed if WRAPPERS.search(name)]
    if prefix not in ("", PREFIX):
        notes.append(f"names of modules begin with {prefix!r}")
    if wrapped:
        notes.append(f"names of tensors contain those of wrappers, as {wrapped[0]!r}")
    return notes


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _add(source: object, table: dict[str, Any], key: str, array: Any, name: str) -> None:
    """Adds a tensor; PEFT writes biases of fully trained modules twice, with the same values."""
    if key in table and not np.array_equal(table[key], array):
        raise AdapterMismatchError(source, "holds a tensor twice, with different values", [name])
    table[key] = array


def _check_shape(
    source: object, model: Any, names: AdapterNames, weight: str, name: str, shape: tuple[int, ...]
) -> None:
    expected = names.stored_shape(weight)
    if shape != expected:
        problem = "holds base weights of another shape"
        text = f"{name} {list(shape)}, this model has {list(expected)}"
        raise AdapterMismatchError(source, problem, [text], size_remedy(model, weight, expected, shape))
