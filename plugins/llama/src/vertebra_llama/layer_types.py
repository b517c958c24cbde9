"""The arguments of a plain Llama, and what follows from arguments for heads and windows. It imports no framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

SLIDING, FULL = "sliding_attention", "full_attention"
"""The two types of layers."""

PLAIN: Mapping[str, Any] = MappingProxyType(
    {
        "dropout": 0.0,
        "head_dim": None,
        "sliding_window": None,
        "layer_types": None,
        "rope_scaling": None,
        "partial_rotary_factor": 1.0,
        "rope_layer_enabled_list": None,
        "query_key_norm": False,
        "query_key_norm_epsilon": None,
        "attention_bias": False,
        "attention_output_bias": None,
        "mlp_bias": False,
        "activation": "silu",
        "attention_dropout": None,
        "initializer_range": 0.02,
    }
)
"""The arguments that a config need not have a field for, with the values of a plain Llama."""


def head_dim(arguments: Mapping[str, Any]) -> int:
    """Returns the width of a head."""
    width: int | None = arguments["head_dim"]
    return arguments["hidden_dim"] // arguments["num_query_heads"] if width is None else width


def rotary_width(arguments: Mapping[str, Any]) -> int:
    """Returns the number of a head's elements that are rotated."""
    return int(head_dim(arguments) * arguments["partial_rotary_factor"])


def windows(arguments: Mapping[str, Any]) -> list[int | None]:
    """Returns the window of each layer, or None for layers that attend to all tokens before.

    Raises:
        ValueError: `layer_types` has another length or other types, or contradicts `sliding_window`.
    """
    types, window, count = arguments["layer_types"], arguments["sliding_window"], arguments["num_layers"]
    if types is None:
        return [window] * count
    listed = isinstance(types, list | tuple) and all(kind in (SLIDING, FULL) for kind in types)
    if not listed or len(types) != count:
        raise ValueError(f"layer_types={types!r}, expected {SLIDING!r} or {FULL!r} for each of num_layers={count}.")
    if (SLIDING in types) != (window is not None):
        raise ValueError(f"layer_types={types!r}, expected types that agree with sliding_window={window}.")
    return [window if kind == SLIDING else None for kind in types]


def differing(arguments: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yields the arguments that mean something else than the wanted values, in the order of these.

    None means `layer_norm_epsilon` for `query_key_norm_epsilon`, `attention_bias` for `attention_output_bias`, and True
    for each layer in `rope_layer_enabled_list`.
    """
    for name, value in wanted.items():
        if _meaning(arguments, name, arguments[name]) != _meaning(arguments, name, value):
            yield name


def _meaning(arguments: Mapping[str, Any], name: str, value: Any) -> Any:
    if name == "query_key_norm_epsilon":
        # Without these normalisations, the argument means nothing.
        return (arguments["layer_norm_epsilon"] if value is None else value) if arguments["query_key_norm"] else None
    if name == "attention_output_bias":
        return arguments["attention_bias"] if value is None else value
    if name == "rope_layer_enabled_list":
        return None if value is None or all(value) else list(value)
    if name == "head_dim":
        return head_dim({**arguments, "head_dim": value})
    if name in ("sliding_window", "layer_types"):
        return windows(arguments) if value is arguments[name] else [None] * arguments["num_layers"]
    return value
