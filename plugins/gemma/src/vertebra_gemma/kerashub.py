"""Gemma in KerasHub's format: what its config and datasets are called there."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from vertebra import TensorRule, Translation
from vertebra.errors import FormatLimitError, PresetConfigError

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
"""What KerasHub's constructor assumes for an argument that a config leaves out."""
_FIELDS = (*_COUNTS, *_DEFAULTS)

_FIXED = {
    "rope_max_wavelength": 10_000,
    "rope_scaling_factor": 1,
    "activation": "gelu_approximate",
    "attention_bias": False,
    "layer_types": None,
}
"""Arguments that KerasHub's class does not take, with what it always computes."""

_MOST, _MOST_LAYERS = 2**24, 1_000


class GemmaKerasHub(Translation):
    """Reads and writes presets of KerasHub's `GemmaBackbone`.

    `initializer_range` is not written: nothing is initialised where weights are loaded.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in config.items():
            if name not in _FIELDS:
                raise _refusal(name, value, f"expected none but {', '.join(_FIELDS)}")
        arguments = {**_DEFAULTS, **config}
        _check_counts(arguments)
        return arguments

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in _FIXED.items():
            if arguments[name] != value:
                raise _limit(arguments, name, f"KerasHub's Gemma always has {value!r}")
        # This changes training alone, but a preset is there to be trained on, too.
        if arguments["attention_dropout"] not in (None, arguments["dropout"]):
            problem = f"KerasHub's Gemma has one rate for all, dropout={arguments['dropout']!r}"
            raise _limit(arguments, "attention_dropout", problem)
        config = {name: arguments[name] for name in _FIELDS}
        config["query_head_dim_normalize"] = _normalizes_by_head_dim(arguments)
        _warn_of_ignored(config)
        return config

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
            for name, part in (("gating", "gating_ffw"), ("gating_2", "gating_ffw_2"), ("linear", "ffw_linear")):
                rules[f"{ours}/ffw_{name}/kernel"] = TensorRule(f"{theirs}/{part}/vars/0")
        return rules

    def current_name(self, tensor: str) -> str:
        # Up to Keras 2.13, the layers of a model were kept under another name.
        return tensor.replace("_layer_checkpoint_dependencies", "layers")


def _attention(ours: str, theirs: str, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
    """KerasHub's kernels have three axes: heads come first, and the last two are those of the product."""
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


def _normalizes_by_head_dim(arguments: Mapping[str, Any]) -> bool:
    """Says which of KerasHub's two divisors the backbone's is."""
    head_dim, by_width = arguments["head_dim"], arguments["hidden_dim"] // arguments["num_query_heads"]
    scalar = arguments["query_pre_attention_scalar"]
    if scalar is None:
        return bool(arguments["query_head_dim_normalize"]) or by_width == head_dim
    if scalar not in (head_dim, by_width):
        problem = f"KerasHub's Gemma has head_dim={head_dim} or hidden_dim // num_query_heads={by_width}"
        raise _limit(arguments, "query_pre_attention_scalar", problem)
    return bool(scalar == head_dim)


def _warn_of_ignored(config: Mapping[str, Any]) -> None:
    for name in ("query_head_dim_normalize", "layer_norm_epsilon"):
        if config[name] != _DEFAULTS[name]:
            warnings.warn(
                f"KerasHub 0.32 computes with {name}={_DEFAULTS[name]!r} whatever its config says: the preset has "
                f"{name}={config[name]!r}, as it should, but gives other outputs there",
                stacklevel=4,
            )


def _check_counts(arguments: Mapping[str, Any]) -> None:
    """Refuses sizes that are none before anything is counted or built by them."""
    for name in _COUNTS:
        value, most = arguments.get(name), _MOST_LAYERS if name == "num_layers" else _MOST
        if type(value) is not int or not 0 < value <= most:
            raise _refusal(name, value, f"expected an int from 1 to {most}")


def _refusal(name: str, value: object, problem: str) -> PresetConfigError:
    return PresetConfigError(
        "config.json of a KerasHub Gemma", f"{name} is {value!r}, {problem}", "Use a preset without it"
    )


def _limit(arguments: Mapping[str, Any], name: str, problem: str) -> FormatLimitError:
    return FormatLimitError("kerashub", name, arguments[name], problem)
