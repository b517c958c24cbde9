"""Translation of Gemma 1 and 2 from and to KerasHub's format: names of config fields and HDF5 datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation
from vertebra.errors import FormatLimitError
from vertebra_gemma.arguments import query_scalar

_CONFIG = ForeignConfig("kerashub", "KerasHub's Gemma")
COUNTS = (
    *("vocabulary_size", "num_layers", "num_query_heads", "num_key_value_heads"),
    *("hidden_dim", "intermediate_dim", "head_dim"),
)
"""Arguments of the same name that are sizes."""
EPSILON = 1e-6
"""KerasHub 0.32 takes another `layer_norm_epsilon`, but uses it in the last normalisation only."""
_DEFAULTS = {
    "query_head_dim_normalize": True,
    "use_post_ffw_norm": False,
    "use_post_attention_norm": False,
    "attention_logit_soft_cap": None,
    "final_logit_soft_cap": None,
    "use_sliding_window_attention": False,
    "sliding_window_size": 4096,
    "layer_norm_epsilon": EPSILON,
    "dropout": 0,
}
"""Defaults of KerasHub's constructor for arguments that a config omits."""
_FIELDS = (*COUNTS, *_DEFAULTS)

_FIXED = {
    "rope_max_wavelength": 10_000,
    "rope_scaling_factor": 1,
    "activation": "gelu_approximate",
    "attention_bias": False,
    "layer_types": None,
    "layer_norm_epsilon": EPSILON,
}
"""Arguments that KerasHub's class does not have, with the values that it always uses."""


class GemmaKerasHub(Translation):
    """Reads and writes presets of KerasHub's `GemmaBackbone`.

    `initializer_range` is not written, because loaded weights are not initialised.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return _CONFIG.constructor_arguments(config, COUNTS, _DEFAULTS)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_fixed(arguments, _FIXED)
        _CONFIG.check_one_rate(arguments, ("attention_dropout",))
        check_divisor(_CONFIG, arguments)
        return {name: arguments[name] for name in _FIELDS} | {"query_head_dim_normalize": True}

    def difference(self, arguments: Mapping[str, Any]) -> str | None:
        return difference(_CONFIG, arguments)

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("initializer_range",)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        return rules(arguments, "gemma_decoder_block")

    def numbered_layers(self, arguments: Mapping[str, Any]) -> dict[int, str]:
        return numbers(arguments)


# === Shared with Gemma 3 ===


def rules(arguments: Mapping[str, Any], block: str) -> dict[str, TensorRule]:
    """Returns the tensor rules; `block` is KerasHub's name of a layer."""
    rules = {
        "token_embedding/embeddings": TensorRule("layers/reversible_embedding/vars/0"),
        "final_normalization/scale": TensorRule("layers/rms_normalization/vars/0"),
    }
    for i in range(arguments["num_layers"]):
        ours, theirs = f"decoder_block_{i}", f"layers/{block}{f'_{i}' if i else ''}"
        rules |= _attention(f"{ours}/attention", f"{theirs}/attention", arguments)
        for name in ("pre_attention_norm", "post_attention_norm", "pre_ffw_norm", "post_ffw_norm"):
            if arguments.get(f"use_{name}", True):
                rules[f"{ours}/{name}/scale"] = TensorRule(f"{theirs}/{name}/vars/0")
        for name, layer in (("gating", "gating_ffw"), ("gating_2", "gating_ffw_2"), ("linear", "ffw_linear")):
            rules[f"{ours}/ffw_{name}/kernel"] = TensorRule(f"{theirs}/{layer}/vars/0")
    return rules


def _attention(ours: str, theirs: str, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
    """Returns the rules of attention; KerasHub's kernels have three axes: heads, inputs and outputs."""
    width, head_dim = arguments["hidden_dim"], arguments["head_dim"]
    queries, keys = arguments["num_query_heads"], arguments["num_key_value_heads"]
    rules = {
        f"{ours}/{name}/kernel": TensorRule(
            f"{theirs}/{name}_dense/vars/0", shape=(heads, width, head_dim), axes=(1, 0, 2)
        )
        for name, heads in (("query", queries), ("key", keys), ("value", keys))
    }
    if arguments.get("use_query_key_norm"):
        norms = ("query_norm", "key_norm")
        rules |= {f"{ours}/{name}/scale": TensorRule(f"{theirs}/{name}/vars/0") for name in norms}
    output = TensorRule(f"{theirs}/output_dense/vars/0", shape=(queries, head_dim, width))
    return rules | {f"{ours}/attention_output/kernel": output}


def numbers(arguments: Mapping[str, Any]) -> dict[int, str]:
    """Returns the path of each linear layer by its number.

    Numbers start with the embedding; then come each layer and its sublayers with weights, the last first.
    """
    after, norms = bool(arguments["use_post_ffw_norm"]), 2 * bool(arguments.get("use_query_key_norm"))
    inside = 11 + after + bool(arguments["use_post_attention_norm"]) + norms
    numbers = {}
    for i in range(arguments["num_layers"]):
        layer, first = f"decoder_block_{i}", 1 + inside * i
        numbers |= {first + 1 + n: f"{layer}/ffw_{name}" for n, name in enumerate(("linear", "gating_2", "gating"))}
        numbers[first + 6 + after] = f"{layer}/attention/attention_output"
        projections = enumerate(("value", "key", "query"))
        numbers |= {first + 7 + after + norms + n: f"{layer}/attention/{name}" for n, name in projections}
    return numbers


def check_divisor(config: ForeignConfig, arguments: Mapping[str, Any]) -> None:
    """Checks that attention scores are divided by the square root of `head_dim`.

    Args:
        config: The config's owner, for messages.
        arguments: The arguments of the backbone.

    Raises:
        FormatLimitError: they are divided by the square root of another number.
    """
    scalar, width = arguments["query_pre_attention_scalar"], arguments["head_dim"]
    if query_scalar(arguments) == width:
        return
    name = "query_head_dim_normalize" if scalar is None else "query_pre_attention_scalar"
    raise config.limit(arguments, name, f"{config.owner} always computes with head_dim={width}")


def difference(config: ForeignConfig, arguments: Mapping[str, Any]) -> str | None:
    """Returns a field that KerasHub 0.32 ignores, `layer_norm_epsilon` in all normalisations but the last."""
    try:
        check_divisor(config, {"query_pre_attention_scalar": None, **arguments})
        config.check_fixed(arguments, {"layer_norm_epsilon": EPSILON})
    except FormatLimitError as limit:
        return f"{limit.argument}={limit.value!r}, and {limit.problem}"
    return None
