"""Translation of RoBERTa from and to KerasHub's format: names of config fields and HDF5 datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation

_CONFIG = ForeignConfig("kerashub", "KerasHub's RoBERTa")
_COUNTS = (
    *("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim"),
    "max_sequence_length",
)
_DEFAULTS = {"dropout": 0.1, "max_sequence_length": 512}
"""Defaults of KerasHub's constructor for arguments that a config omits."""
_FIELDS = (*_COUNTS, "dropout")

_FIXED = {
    "num_segments": 1,
    "pad_token_id": 1,
    "activation": "gelu",
    "layer_norm_epsilon": 1e-5,
}
"""Arguments that KerasHub's classes do not have, with the values that they always use."""
_FIRST_POSITION = 2
"""The row of the first token's position; KerasHub's table begins with it."""


class RobertaKerasHub(Translation):
    """Reads and writes presets of KerasHub's `RobertaBackbone` and `XLMRobertaBackbone`.

    KerasHub has no segment embedding: that of the only segment is added to the positions, and read as 0.
    `initializer_range` is not written, because loaded weights are not initialised.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return _CONFIG.constructor_arguments(config, _COUNTS, _DEFAULTS)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if arguments["pooler"]:
            raise _CONFIG.limit(arguments, "pooler", f"{_CONFIG.owner} has none; load or convert it with pooler=False")
        _CONFIG.check_fixed(arguments, _FIXED)
        _CONFIG.check_one_rate(arguments, ("attention_dropout",))
        return {name: arguments[name] for name in _FIELDS}

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("initializer_range",)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        embeddings = "layers/token_and_position_embedding"
        positions = f"{embeddings}/position_embedding/vars/0"
        rules = {
            "token_embedding/embeddings": TensorRule(f"{embeddings}/token_embedding/vars/0"),
            "position_embedding/embeddings": TensorRule(positions, first_row=_FIRST_POSITION),
            "segment_embedding/embeddings": TensorRule(positions, added=True),
            **TensorRule.numbered("embeddings_layer_norm", "layers/layer_normalization", gamma=None, beta=None),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"layers/transformer_encoder{f'_{i}' if i else ''}"
            rules |= TensorRule.heads(f"{ours}/self_attention", f"{theirs}/_self_attention_layer", arguments)
            for name in ("feedforward_intermediate_dense", "feedforward_output_dense"):
                rules |= TensorRule.numbered(f"{ours}/{name}", f"{theirs}/_{name}", kernel=None, bias=None)
            for name in ("self_attention_layer_norm", "feedforward_layer_norm"):
                rules |= TensorRule.numbered(f"{ours}/{name}", f"{theirs}/_{name}", gamma=None, beta=None)
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
