"""What the arguments of the two classes mean, and which contradict each other; needs no framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

SLIDING, FULL = "sliding_attention", "full_attention"
"""The two types of layers: attention within a window, and to all tokens."""


# === Types of layers ===


def alternating(count: int) -> list[str]:
    """Returns the types of Gemma 2: a layer with a window, then one without."""
    return [FULL if i % 2 else SLIDING for i in range(count)]


def five_to_one(count: int) -> list[str]:
    """Returns the types of Gemma 3: five layers with a window, then one without."""
    return periodic(count, 6)


def periodic(count: int, period: int) -> list[str]:
    """Returns the types of layers of which the last in each period has no window."""
    return [SLIDING if (i + 1) % period else FULL for i in range(count)]


def gemma_layer_types(arguments: Mapping[str, Any]) -> list[str]:
    """Returns the type of each layer of a `GemmaBackbone`."""
    return _layer_types(arguments, alternating)


def gemma3_layer_types(arguments: Mapping[str, Any]) -> list[str]:
    """Returns the type of each layer of a `Gemma3Backbone`."""
    return _layer_types(arguments, five_to_one)


def _layer_types(arguments: Mapping[str, Any], default: Callable[[int], list[str]]) -> list[str]:
    count = arguments["num_layers"]
    if arguments["layer_types"] is not None:
        return list(arguments["layer_types"])
    return default(count) if arguments["use_sliding_window_attention"] else [FULL] * count


# === Numbers ===


def query_scalar(arguments: Mapping[str, Any]) -> float:
    """Returns the number whose square root attention scores are divided by."""
    scalar: float | None = arguments["query_pre_attention_scalar"]
    if scalar is not None:
        return scalar
    by_head_dim = arguments["query_head_dim_normalize"]
    return arguments["head_dim"] if by_head_dim else arguments["hidden_dim"] // arguments["num_query_heads"]


def reach(sliding_window_size: int) -> int:
    """Returns to how many tokens on either side a token attends within a window of bidirectional attention."""
    return sliding_window_size // 2


# === Checks ===


def check(arguments: Mapping[str, Any], even: tuple[str, ...]) -> None:
    """Checks that arguments do not contradict each other.

    Args:
        arguments: The arguments of a constructor.
        even: Names of the widths that must be even numbers.

    Raises:
        ValueError: two arguments contradict each other, or a width is odd; the message names the argument.
    """
    for name in even:
        if arguments[name] % 2:
            raise _out_of_range(arguments, name, "an even number, because it is split into halves")
    heads = arguments["num_query_heads"]
    if heads % arguments["num_key_value_heads"]:
        raise _out_of_range(arguments, "num_key_value_heads", f"a divisor of num_query_heads={heads}")
    if arguments["hidden_dim"] < heads and not arguments["query_head_dim_normalize"]:
        raise _out_of_range(arguments, "query_head_dim_normalize", "True if hidden_dim is below num_query_heads")
    _check_layer_types(arguments)


def _check_layer_types(arguments: Mapping[str, Any]) -> None:
    types, slides = arguments["layer_types"], arguments["use_sliding_window_attention"]
    if types is None:
        return
    listed = isinstance(types, list | tuple) and all(kind in (SLIDING, FULL) for kind in types)
    if not listed or len(types) != arguments["num_layers"]:
        expected = f"{SLIDING!r} or {FULL!r} for each of num_layers={arguments['num_layers']}"
        raise _out_of_range(arguments, "layer_types", expected)
    if (SLIDING in types) != slides:
        raise _out_of_range(arguments, "layer_types", f"types that agree with use_sliding_window_attention={slides}")


def _out_of_range(arguments: Mapping[str, Any], name: str, expected: str) -> ValueError:
    return ValueError(f"{name}={arguments[name]!r}, expected {expected}.")
