"""Quantised layers: records how Keras quantised each layer, and quantises newly built layers in the same way."""

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
    """Returns the quantisation settings, by path, of each quantised layer that `quantize_as_planned` can quantise."""
    if not any(_mode(layer) for layer in all_layers(model)):
        return {}
    return {path: _describe(layer) for path, layer in layer_paths(model).items() if _is_plannable(layer)}


def check_plannable(model: Any) -> None:
    """Checks that `quantization_plan` covers every quantised layer.

    Raises:
        PresetConfigError: a layer was quantised in a way that plain data cannot describe.
    """
    for path, layer in layer_paths(model).items():
        mode = _mode(layer)
        if mode and mode not in _MODES:
            problem = f"it is quantised as {mode!r}, and only {' and '.join(_MODES)} can be saved"
            raise PresetConfigError(f"Layer {path!r}", problem, "Use one of these modes")
        if mode and not _is_plannable(layer):
            quantizer = layer.inputs_quantizer
            problem = f"its inputs are quantised by {type(quantizer).__name__} with {quantizer.get_config()}"
            remedy = "Quantise them with AbsMaxQuantizer(axis=-1), or not at all"
            raise PresetConfigError(f"Layer {path!r}", problem, remedy)


def quantize_as_planned(model: Any, plan: Mapping[str, Mapping[str, Any]]) -> None:
    """Quantises the layers of a plan; a layer without values gets quantised variables for the caller to fill.

    Layers that a `DTypePolicyMap` has quantised as planned stay as they are. Variables that remain floats keep the
    dtype policy that the layer was built with.

    Raises:
        PresetConfigError: the plan names a layer that cannot be quantised as planned.
    """
    layers = layer_paths(model)
    for path, facts in plan.items():
        if path not in layers or kernel_variable(layers[path]) is None:
            raise PresetConfigError(f"Quantised layer {path!r}", "the model has no layer of this path to be quantised")
        if not _mode(layers[path]):
            _quantize(path, layers[path], facts)
        elif _describe(layers[path]) != facts:
            problem = f"its dtype policy quantises it as {_describe(layers[path])}, and the plan as {dict(facts)}"
            raise PresetConfigError(f"Quantised layer {path!r}", problem)


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
    """Says whether inputs are quantised with Keras's default settings."""
    usual = keras.quantizers.AbsMaxQuantizer().get_config()
    return type(quantizer) is keras.quantizers.AbsMaxQuantizer and quantizer.get_config() in (
        usual,
        usual | {"axis": (-1,)},
    )


def _quantize(path: str, layer: Any, facts: Mapping[str, Any]) -> None:
    mode, block, inputs = (facts.get(name) for name in ("mode", "block_size", "quantize_inputs"))
    inputs = mode == "int8" if inputs is None else inputs  # Keras's default
    sound = mode in _MODES and isinstance(inputs, bool) and (block is None or (type(block) is int and block >= -1))
    if not sound or len(facts) != 3:
        problem = f"its settings are {dict(facts)!r}, expected mode, block_size and quantize_inputs"
        raise PresetConfigError(f"Quantised layer {path!r}", problem)
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
    """Replaces the kernel of a layer without values by the variables of a quantised layer."""
    shape = tuple(kernel_variable(layer).shape)
    layer.quantization_config = config
    with unlocked(layer):
        for replaced in remove_kernel(layer):
            drop(replaced)
        layer.quantized_build(shape, mode, config)
