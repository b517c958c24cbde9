"""Quantised presets of KerasHub: finds the quantised layers, and the datasets of the variables that quantising adds.

Keras numbers a layer's variables in one order: kernel, bias, scale and, for int4 in blocks, zero points and the block
of each row. It stores a quantised kernel with two axes; the kernels of these backbones have two axes anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vertebra._formats.description import PresetDescription
from vertebra._weights.tensor_entry import TensorEntry
from vertebra.errors import PresetConfigError
from vertebra.translations import TensorRule, Translation

_MODE = re.compile(r"(int8|int4)(?:/(-?\d{1,6}))?")
_KERNELS = {
    "kernel": ("kernel_scale", "kernel_zero", "g_idx"),
    "embeddings": ("embeddings_scale", "embeddings_zero", "g_idx"),
}
"""The weights that Keras quantises, and the variables that it adds to each."""


def modes_of(dtype: Any) -> set[str]:
    """Returns the quantisation modes in a serialised dtype policy, such as `int8` or `int4/128`."""
    if isinstance(dtype, str):
        return {dtype.partition("_from_")[0]} if "_from_" in dtype else set()
    if not isinstance(dtype, Mapping):
        return set()
    own = {dtype["mode"]} if isinstance(dtype.get("mode"), str) else set()
    return own.union(*(modes_of(value) for value in dtype.values() if isinstance(value, Mapping | str)))


def is_readable(mode: str) -> bool:
    """Says whether presets of this quantisation mode can be read."""
    return _MODE.fullmatch(mode) is not None


def as_quantized(mode: str, description: PresetDescription, entries: Mapping[str, TensorEntry]) -> PresetDescription:
    """Completes the description of a quantised preset: the tensors' dtypes show which layers are quantised.

    Raises:
        PresetConfigError: a layer was quantised in a way that is not supported.
    """
    assert description.translation is not None
    translation = QuantizedTranslation(description.translation, mode, entries)
    plan = {"quantized": translation.plan(description.arguments)}
    return replace(description, arguments=description.arguments | plan, translation=translation)


class QuantizedTranslation(Translation):
    """Wraps the translation of a float preset, for a preset whose layers are quantised in one mode."""

    def __init__(self, floats: Translation, mode: str, entries: Mapping[str, TensorEntry]) -> None:
        self._floats, self._mode, self._entries = floats, mode, entries
        self.prefixes, self.ignored, self.optional = floats.prefixes, floats.ignored, floats.optional

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return self._floats.arguments(config)

    def plan(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the quantisation settings of each quantised layer, by path."""
        kind, block = _MODE.fullmatch(self._mode).groups()  # type: ignore[union-attr]
        facts = {"mode": kind, "block_size": int(block) if block else None, "quantize_inputs": None}
        layers = self._quantized(self._floats.rules(arguments))
        reordered = [weight for weight, rule in layers.items() if rule.axes is not None]
        if kind == "int4" and reordered:  # Keras packs such a kernel as if its axes were in another order
            problem = f"{reordered[0]} is quantised as int4 with its axes in another order, which is not supported"
            raise PresetConfigError(
                "KerasHub preset",
                problem,
                "Quantise it as int8 in KerasHub, or load the float preset and quantise that",
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
        # int4 packs two numbers into one byte, in a kernel with two axes: the float rule's shape does not apply.
        return added | ({weight: TensorRule(rule.tensor)} if self._mode.startswith("int4") else {})
