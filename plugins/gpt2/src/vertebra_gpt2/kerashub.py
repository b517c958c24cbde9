"""Translation of GPT-2 from and to KerasHub's format: names of config fields and HDF5 datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation

_CONFIG = ForeignConfig("kerashub", "KerasHub's GPT-2")
_COUNTS = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")
_DEFAULTS = {"dropout": 0.1, "max_sequence_length": 1024}
"""Defaults of KerasHub's constructor for arguments that a config omits."""
_FIELDS = (*_COUNTS, "dropout")

_FIXED = {
    "activation": "gelu_approximate",
    "layer_norm_epsilon": 1e-5,
    "scale_attention": True,
    "scale_attention_by_inverse_layer_index": False,
}
"""Arguments that KerasHub's class does not have, with the values that it always uses."""


class GPT2KerasHub(Translation):
    """Reads and writes presets of KerasHub's `GPT2Backbone`.

    `initializer_range` is not written, because loaded weights are not initialised.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return _CONFIG.constructor_arguments(config, _COUNTS, _DEFAULTS)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_fixed(arguments, _FIXED)
        _CONFIG.check_one_rate(arguments, ("attention_dropout", "embedding_dropout"))
        return {name: arguments[name] for name in _FIELDS}

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("initializer_range",)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule("layers/reversible_embedding/vars/0"),
            "position_embedding/embeddings": TensorRule("layers/position_embedding/vars/0"),
            **TensorRule.numbered("layer_norm", "layers/layer_normalization", gamma=None, beta=None),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"layers/transformer_decoder{f'_{i}' if i else ''}"
            rules |= {
                **TensorRule.numbered(
                    f"{ours}/self_attention_layer_norm", f"{theirs}/_self_attention_layer_norm", gamma=None, beta=None
                ),
                **TensorRule.heads(f"{ours}/self_attention", f"{theirs}/_self_attention_layer", arguments),
                **TensorRule.numbered(
                    f"{ours}/feedforward_layer_norm", f"{theirs}/_feedforward_layer_norm", gamma=None, beta=None
                ),
                **TensorRule.numbered(
                    f"{ours}/feedforward_intermediate_dense",
                    f"{theirs}/_feedforward_intermediate_dense",
                    kernel=None,
                    bias=None,
                ),
                **TensorRule.numbered(
                    f"{ours}/feedforward_output_dense", f"{theirs}/_feedforward_output_dense", kernel=None, bias=None
                ),
            }
        return rules

    def numbered_layers(self, arguments: Mapping[str, Any]) -> dict[int, str]:
        """Numbers start with both embeddings; then come each layer and its sublayers, the last first."""
        numbers = {}
        for i in range(arguments["num_layers"]):
            layer, first = f"transformer_layer_{i}", 2 + 10 * i
            numbers |= {
                first + 2: f"{layer}/feedforward_output_dense",
                first + 3: f"{layer}/feedforward_intermediate_dense",
                first + 6: f"{layer}/self_attention/attention_output",
                first + 7: f"{layer}/self_attention/value",
                first + 8: f"{layer}/self_attention/key",
                first + 9: f"{layer}/self_attention/query",
            }
        return numbers
