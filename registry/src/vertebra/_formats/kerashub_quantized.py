"""Quantised presets of KerasHub: which layers are, and where the variables lie that quantising adds.

Keras numbers a layer's variables in one order: kernel, bias, scale and, for int4 in blocks, zero points and the block
of each row. Quantised kernels of several axes are packed in two, as the kernels of these backbones are in any case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vertebra._formats.description import PresetDescription
from vertebra._weights.tensor_entry import TensorEntry
from vertebra.errors import PresetConfigError
from vertebra.interfaces import Translation
from vertebra.specs import TensorRule

_MODE = re.compile(r"(int8|int4)(?:/(-?\d{1,6}))?")
_KERNELS = {
    "kernel": ("kernel_scale", "kernel_zero", "g_idx"),
    "embeddings": ("embeddings_scale", "embeddings_zero", "g_idx"),
}
"""The weights that Keras quantises, and what it adds to each."""


def modes_of(dtype: Any) -> set[str]:
    """Returns the quantisation modes in a serialised dtype policy, such as `int8` or `int4/128`."""
    if isinstance(dtype, str):
        return {dtype.partition("_from_")[0]} if "_from_" in dtype else set()
    if not isinstance(dtype, Mapping):
        return set()
    own = {dtype["mode"]} if isinstance(dtype.get("mode"), str) else set()
    return own.union(*(modes_of(value) for value in dtype.values() if isinstance(value, Mapping | str)))


def is_readable(mode: str) -> bool:
    """Says whether presets that were quantised in this mode can be read."""
    return _MODE.fullmatch(mode) is not None


def as_quantized(mode: str, contents: PresetDescription, entries: Mapping[str, TensorEntry]) -> PresetDescription:
    """Returns the contents of a preset whose layers were quantised in a mode: which ones, only the files tell.

    Raises:
        PresetConfigError: a layer was quantised in a way that is not read.
    """
    assert contents.translation is not None
    translation = QuantizedTranslation(contents.translation, mode, entries)
    plan = {"quantized": translation.plan(contents.arguments)}
    return replace(contents, arguments=contents.arguments | plan, translation=translation)


class QuantizedTranslation(Translation):
    """A translation of a float preset, for one whose layers were quantised in one mode."""

    def __init__(self, floats: Translation, mode: str, entries: Mapping[str, TensorEntry]) -> None:
        self._floats, self._mode, self._entries = floats, mode, entries
        self.prefixes, self.ignored, self.optional = floats.prefixes, floats.ignored, floats.optional  # type: ignore[misc]

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return self._floats.arguments(config)

    def plan(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns how each quantised layer was quantised, by path."""
        kind, block = _MODE.fullmatch(self._mode).groups()  # type: ignore[union-attr]
        facts = {"mode": kind, "block_size": int(block) if block else None, "quantize_inputs": None}
        layers = self._quantized(self._floats.rules(arguments))
        reordered = [weight for weight, rule in layers.items() if rule.axes is not None]
        if kind == "int4" and reordered:  # Keras packs such a kernel as if its axes were in another order
            problem = f"{reordered[0]} is quantised as int4 with its axes in another order, which is not read"
            raise PresetConfigError(
                "KerasHub preset", problem, "Quantise it in KerasHub as int8, or here after loading"
            )
        return {weight.rpartition("/")[0]: facts for weight in layers}

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._floats.config(arguments)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        floats = self._floats.rules(arguments)
        added: dict[str, TensorRule] = {}
        for weight, rule in self._quantized(floats).items():
            added |= self._additions(weight, rule, has_bias=f"{weight.rpartition('/')[0]}/bias" in floats)
        return floats | added

    def current_name(self, tensor: str) -> str:
        return self._floats.current_name(tensor)

    def _quantized(self, floats: Mapping[str, TensorRule]) -> dict[str, TensorRule]:
        return {
            weight: rule
            for weight, rule in floats.items()
            if weight.rpartition("/")[2] in _KERNELS and self._stored(rule.tensor) == "int8"
        }

    def _stored(self, tensor: str) -> str | None:
        return self._entries[tensor].dtype if tensor in self._entries else None

    def _additions(self, weight: str, rule: TensorRule, has_bias: bool) -> dict[str, TensorRule]:
        layer, _, kernel = weight.rpartition("/")
        group = rule.tensor.rpartition("/")[0]
        first = 2 if has_bias else 1
        names = [f"{group}/{number}" for number in range(first, first + 3)]
        added = {
            f"{layer}/{name}": TensorRule(dataset, shape=self._entries[dataset].shape)
            for name, dataset in zip(_KERNELS[kernel], names, strict=True)
            if dataset in self._entries
        }
        # Two numbers of four bits are one byte, of a kernel that has two axes.
        return added | ({weight: TensorRule(rule.tensor)} if self._mode.startswith("int4") else {})
