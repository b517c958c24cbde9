"""BERT in KerasHub's format: what its config and datasets are called there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import TensorRule, Translation
from vertebra.errors import FormatLimitError

_FIXED = {"activation": "gelu_approximate", "layer_norm_epsilon": 1e-12}
"""Arguments that KerasHub's class does not have, with the values that it always computes with."""
_ABSENT = (*_FIXED, "attention_dropout", "initializer_range")


class BertKerasHub(Translation):
    """Reads and writes presets of `keras_hub.models.BertBackbone`, whose arguments have the same names."""

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return dict(config)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in _FIXED.items():
            if arguments[name] != value:
                raise FormatLimitError("kerashub", name, arguments[name], f"KerasHub's BERT always has {value!r}")
        if arguments["attention_dropout"] not in (None, arguments["dropout"]):
            problem = f"KerasHub's BERT has one rate, dropout={arguments['dropout']}, for both"
            raise FormatLimitError("kerashub", "attention_dropout", arguments["attention_dropout"], problem)
        return {name: value for name, value in arguments.items() if name not in _ABSENT}

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule("layers/reversible_embedding/vars/0"),
            "position_embedding/embeddings": TensorRule("layers/position_embedding/vars/0"),
            "segment_embedding/embeddings": TensorRule("layers/embedding/vars/0"),
            **_pair("embeddings_layer_norm", "layers/layer_normalization", "gamma", "beta"),
            **_pair("pooled_dense", "layers/dense", "kernel", "bias"),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"layers/transformer_encoder{f'_{i}' if i else ''}"
            rules |= _attention(f"{ours}/self_attention", f"{theirs}/_self_attention_layer", arguments)
            for name in ("feedforward_intermediate_dense", "feedforward_output_dense"):
                rules |= _pair(f"{ours}/{name}", f"{theirs}/_{name}", "kernel", "bias")
            for name in ("self_attention_layer_norm", "feedforward_layer_norm"):
                rules |= _pair(f"{ours}/{name}", f"{theirs}/_{name}", "gamma", "beta")
        return rules


def _attention(ours: str, theirs: str, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
    """KerasHub's projections keep the heads as an axis of their own."""
    width, heads = arguments["hidden_dim"], arguments["num_heads"]
    split = (heads, width // heads)
    rules = {
        f"{ours}/attention_output/kernel": TensorRule(f"{theirs}/output_dense/vars/0", shape=(*split, width)),
        f"{ours}/attention_output/bias": TensorRule(f"{theirs}/output_dense/vars/1"),
    }
    for name in ("query", "key", "value"):
        rules[f"{ours}/{name}/kernel"] = TensorRule(f"{theirs}/{name}_dense/vars/0", shape=(width, *split))
        rules[f"{ours}/{name}/bias"] = TensorRule(f"{theirs}/{name}_dense/vars/1", shape=split)
    return rules


def _pair(ours: str, theirs: str, first: str, second: str) -> dict[str, TensorRule]:
    return {f"{ours}/{first}": TensorRule(f"{theirs}/vars/0"), f"{ours}/{second}": TensorRule(f"{theirs}/vars/1")}
