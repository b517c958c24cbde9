"""Quantised layers: how each was quantised by Keras, and giving a newly built layer the same variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from vertebra._keras.internals import all_layers, has_value, int4_block_size, kernel_variable, remove_kernel, unlocked
from vertebra._weights.abstract import drop
from vertebra._weights.layer_paths import layer_paths
from vertebra.errors import PresetConfigError

_MODES = ("int8", "int4")


def quantization_plan(model: Any) -> dict[str, dict[str, Any]]:
    """Returns how each layer was quantised that `quantize_as_planned` can quantise again, by path."""
    if not any(_mode(layer) for layer in all_layers(model)):
        return {}
    return {path: _describe(layer) for path, layer in layer_paths(model).items() if _is_plannable(layer)}


def check_plannable(model: Any) -> None:
    """Makes sure that every quantised layer is in the plan.

    Raises:
        PresetConfigError: one was quantised in a way that cannot be done again from data alone.
    """
    for path, layer in layer_paths(model).items():
        mode = _mode(layer)
        if mode and mode not in _MODES:
            problem = f"it is quantised as {mode!r}, and {' and '.join(_MODES)} can be saved"
            raise PresetConfigError(f"Layer {path!r}", problem, "Use one of them")
        if mode and not _is_plannable(layer):
            quantizer = layer.inputs_quantizer
            problem = f"its inputs are quantised by {type(quantizer).__name__} with {quantizer.get_config()}"
            remedy = "Quantise them with AbsMaxQuantizer(axis=-1), or not at all"
            raise PresetConfigError(f"Layer {path!r}", problem, remedy)


def quantize_as_planned(model: Any, plan: Mapping[str, Mapping[str, Any]]) -> None:
    """Quantises layers again; of those that have no values, what these are is for the caller to fill in.

    Each keeps the dtype policy that it was built with for what stays a float.

    Raises:
        PresetConfigError: the plan names a layer that cannot be quantised so.
    """
    layers = layer_paths(model)
    for path, facts in plan.items():
        if path not in layers or kernel_variable(layers[path]) is None:
            raise PresetConfigError(f"Quantised layer {path!r}", "there is no such layer that can be quantised")
        _quantize(path, layers[path], facts)


def _mode(layer: Any) -> str | None:
    mode: str | None = getattr(layer, "quantization_mode", None)
    return mode if kernel_variable(layer) is not None or mode not in _MODES else None


def _is_plannable(layer: Any) -> bool:
    quantizer = getattr(layer, "inputs_quantizer", None)
    return _mode(layer) in _MODES and (quantizer is None or _is_usual(quantizer))


def _describe(layer: Any) -> dict[str, Any]:
    mode = _mode(layer)
    return {
        "mode": mode,
        "block_size": int4_block_size(layer) if mode == "int4" else None,
        "quantize_inputs": getattr(layer, "inputs_quantizer", None) is not None,
    }


def _is_usual(quantizer: Any) -> bool:
    """Says whether inputs are quantised as Keras does where it is not told how."""
    usual = keras.quantizers.AbsMaxQuantizer().get_config()
    return type(quantizer) is keras.quantizers.AbsMaxQuantizer and quantizer.get_config() in (
        usual,
        usual | {"axis": (-1,)},
    )


def _quantize(path: str, layer: Any, facts: Mapping[str, Any]) -> None:
    mode, block, inputs = (facts.get(name) for name in ("mode", "block_size", "quantize_inputs"))
    inputs = mode == "int8" if inputs is None else inputs  # as Keras does where it is not told
    sound = mode in _MODES and isinstance(inputs, bool) and (block is None or (type(block) is int and block >= -1))
    if not sound or len(facts) != 3:
        raise PresetConfigError(f"Quantised layer {path!r}", f"it is described by {dict(facts)!r}")
    quantizer = keras.quantizers.AbsMaxQuantizer(axis=-1) if inputs else None
    if mode == "int4":
        config = keras.quantizers.Int4QuantizationConfig(block_size=block)
    else:
        config = keras.quantizers.Int8QuantizationConfig(activation_quantizer=quantizer)
    if not has_value(kernel_variable(layer)):
        _rebuild(layer, str(mode), config)
        name = f"int4/{-1 if block is None else block}" if mode == "int4" else mode
        layer.dtype_policy = f"{name}_from_{layer.dtype_policy.name}"
    else:
        layer.quantize(mode, type_check=False, config=config)
    if hasattr(layer, "inputs_quantizer"):
        layer.inputs_quantizer = quantizer


def _rebuild(layer: Any, mode: str, config: Any) -> None:
    """Gives a layer without values the variables of a quantised one."""
    replaced = kernel_variable(layer)
    layer.quantization_config = config
    with unlocked(layer):
        remove_kernel(layer)
        drop(replaced)
        layer.quantized_build(tuple(replaced.shape), mode, config)
