"""Translation of DistilBERT from and to KerasHub's format: names of config fields and HDF5 datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation

_CONFIG = ForeignConfig("kerashub", "KerasHub's DistilBERT")
_COUNTS = (
    *("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim"),
    "max_sequence_length",
)
_DEFAULTS = {"dropout": 0.1, "max_sequence_length": 512}
"""Defaults of KerasHub's constructor for arguments that a config omits."""
_FIELDS = (*_COUNTS, "dropout")

_FIXED = {"activation": "gelu"}
"""Arguments that KerasHub's class does not have, with the values that it always uses."""


class DistilBertKerasHub(Translation):
    """Reads and writes presets of KerasHub's `DistilBertBackbone`.

    `initializer_range` is not written, because loaded weights are not initialised.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return _CONFIG.constructor_arguments(config, _COUNTS, _DEFAULTS)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_fixed(arguments, _FIXED)
        _CONFIG.check_one_rate(arguments, ("attention_dropout",))
        return {name: arguments[name] for name in _FIELDS}

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("initializer_range",)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        embeddings = "layers/token_and_position_embedding"
        rules = {
            "token_embedding/embeddings": TensorRule(f"{embeddings}/token_embedding/vars/0"),
            "position_embedding/embeddings": TensorRule(f"{embeddings}/position_embedding/vars/0"),
            **_pair("embeddings_layer_norm", "layers/layer_normalization", "gamma", "beta"),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"layers/transformer_encoder{f'_{i}' if i else ''}"
            rules |= _attention(f"{ours}/self_attention", f"{theirs}/_self_attention_layer", arguments)
            for name in ("feedforward_intermediate_dense", "feedforward_output_dense"):
                rules |= _pair(f"{ours}/{name}", f"{theirs}/_{name}", "kernel", "bias")
            for name in ("self_attention_layer_norm", "feedforward_layer_norm"):
                rules |= _pair(f"{ours}/{name}", f"{theirs}/_{name}", "gamma", "beta")
        return rules

    def numbered_layers(self, arguments: Mapping[str, Any]) -> dict[int, str]:
        """Numbers start with the embeddings and their norm; then come each layer and its sublayers, the last first."""
        numbers = {}
        for i in range(arguments["num_layers"]):
            layer, first = f"transformer_layer_{i}", 4 + 10 * i
            numbers |= {
                first + 1: f"{layer}/feedforward_output_dense",
                first + 2: f"{layer}/feedforward_intermediate_dense",
                first + 6: f"{layer}/self_attention/attention_output",
                first + 7: f"{layer}/self_attention/value",
                first + 8: f"{layer}/self_attention/key",
                first + 9: f"{layer}/self_attention/query",
            }
        return numbers


def _attention(ours: str, theirs: str, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
    """Returns the rules of attention; KerasHub's projections have a separate axis for the heads."""
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
