"""Translation of Gemma from and to KerasHub's format: names of config fields and HDF5 datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation
from vertebra.errors import FormatLimitError

_CONFIG = ForeignConfig("kerashub", "KerasHub's Gemma")
_COUNTS = (
    *("vocabulary_size", "num_layers", "num_query_heads", "num_key_value_heads"),
    *("hidden_dim", "intermediate_dim", "head_dim"),
)
_DEFAULTS = {
    "query_head_dim_normalize": True,
    "use_post_ffw_norm": False,
    "use_post_attention_norm": False,
    "attention_logit_soft_cap": None,
    "final_logit_soft_cap": None,
    "use_sliding_window_attention": False,
    "sliding_window_size": 4096,
    "layer_norm_epsilon": 1e-6,
    "dropout": 0,
}
"""Defaults of KerasHub's constructor for arguments that a config omits."""
_FIELDS = (*_COUNTS, *_DEFAULTS)

_FIXED = {
    "rope_max_wavelength": 10_000,
    "rope_scaling_factor": 1,
    "activation": "gelu_approximate",
    "attention_bias": False,
    "layer_types": None,
    "layer_norm_epsilon": 1e-6,  # KerasHub 0.32 takes it, but uses it in the last normalisation only
}
"""Arguments that KerasHub's class does not have, with the values that it always uses."""


class GemmaKerasHub(Translation):
    """Reads and writes presets of KerasHub's `GemmaBackbone`.

    `initializer_range` is not written, because loaded weights are not initialised.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return _CONFIG.constructor_arguments(config, _COUNTS, _DEFAULTS)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_fixed(arguments, _FIXED)
        _CONFIG.check_one_rate(arguments, ("attention_dropout",))
        _check_divisor(arguments)
        return {name: arguments[name] for name in _FIELDS} | {"query_head_dim_normalize": True}

    def difference(self, arguments: Mapping[str, Any]) -> str | None:
        """KerasHub 0.32 has two fields that it ignores, `layer_norm_epsilon` in all normalisations but the last."""
        try:
            _check_divisor({"query_pre_attention_scalar": None, **arguments})
            _CONFIG.check_fixed(arguments, {"layer_norm_epsilon": _FIXED["layer_norm_epsilon"]})
        except FormatLimitError as limit:
            return f"{limit.argument}={limit.value!r}, and {limit.problem}"
        return None

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("initializer_range",)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule("layers/reversible_embedding/vars/0"),
            "final_normalization/scale": TensorRule("layers/rms_normalization/vars/0"),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"decoder_block_{i}", f"layers/gemma_decoder_block{f'_{i}' if i else ''}"
            rules |= _attention(f"{ours}/attention", f"{theirs}/attention", arguments)
            for name in ("pre_attention_norm", "post_attention_norm", "pre_ffw_norm", "post_ffw_norm"):
                if arguments.get(f"use_{name}", True):
                    rules[f"{ours}/{name}/scale"] = TensorRule(f"{theirs}/{name}/vars/0")
            for name, layer in (("gating", "gating_ffw"), ("gating_2", "gating_ffw_2"), ("linear", "ffw_linear")):
                rules[f"{ours}/ffw_{name}/kernel"] = TensorRule(f"{theirs}/{layer}/vars/0")
        return rules

    def numbered_layers(self, arguments: Mapping[str, Any]) -> dict[int, str]:
        """Numbers start with the embedding; then come each layer and its sublayers, the last first."""
        after = bool(arguments["use_post_ffw_norm"])
        inside = 11 + after + bool(arguments["use_post_attention_norm"])
        numbers = {}
        for i in range(arguments["num_layers"]):
            layer, first = f"decoder_block_{i}", 1 + inside * i
            names = ("attention_output", "value", "key", "query")
            numbers |= {first + 1 + n: f"{layer}/ffw_{name}" for n, name in enumerate(("linear", "gating_2", "gating"))}
            numbers |= {first + 6 + after + n: f"{layer}/attention/{name}" for n, name in enumerate(names)}
        return numbers


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
    output = TensorRule(f"{theirs}/output_dense/vars/0", shape=(queries, head_dim, width))
    return rules | {f"{ours}/attention_output/kernel": output}


def _check_divisor(arguments: Mapping[str, Any]) -> None:
    """Checks that attention scores are divided by the square root of `head_dim`.

    Raises:
        FormatLimitError: they are divided by the square root of another number.
    """
    scalar, width = arguments["query_pre_attention_scalar"], arguments["head_dim"]
    problem = f"KerasHub's Gemma always computes with head_dim={width}"
    if scalar is not None:
        if scalar != width:
            raise _CONFIG.limit(arguments, "query_pre_attention_scalar", problem)
    elif not arguments["query_head_dim_normalize"] and arguments["hidden_dim"] // arguments["num_query_heads"] != width:
        raise _CONFIG.limit(arguments, "query_head_dim_normalize", problem)
