"""Translation of BERT and ELECTRA from and to KerasHub's format: names of config fields and HDF5 datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation

_CONFIG = ForeignConfig("kerashub", "KerasHub's BERT")
_COUNTS = (
    *("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim"),
    *("max_sequence_length", "num_segments"),
)
_DEFAULTS = {"dropout": 0.1, "max_sequence_length": 512, "num_segments": 2}
"""Defaults of KerasHub's constructor for arguments that a config omits."""
_FIELDS = (*_COUNTS, "dropout")

_FIXED = {"activation": "gelu_approximate", "layer_norm_epsilon": 1e-12, "pooler": True}
"""Arguments that KerasHub's classes do not have, with the values that they always use."""

_ELECTRA = ForeignConfig("kerashub", "KerasHub's ELECTRA")
_VOCABULARY = "vocab_size"
"""KerasHub's name of `vocabulary_size` in ELECTRA."""


class BertKerasHub(Translation):
    """Reads and writes presets of KerasHub's `BertBackbone`.

    `initializer_range` is not written, because loaded weights are not initialised.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return _CONFIG.constructor_arguments(config, _COUNTS, _DEFAULTS)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_fixed(arguments, _FIXED)
        if arguments["embedding_dim"] not in (None, arguments["hidden_dim"]):
            raise _CONFIG.limit(arguments, "embedding_dim", "its BERT always has hidden_dim; ELECTRA has a projection")
        _CONFIG.check_one_rate(arguments, ("attention_dropout",))
        return {name: arguments[name] for name in _FIELDS}

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("initializer_range",)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule("layers/reversible_embedding/vars/0"),
            "position_embedding/embeddings": TensorRule("layers/position_embedding/vars/0"),
            "segment_embedding/embeddings": TensorRule("layers/embedding/vars/0"),
            **TensorRule.numbered("embeddings_layer_norm", "layers/layer_normalization", gamma=None, beta=None),
            **TensorRule.numbered("pooled_dense", "layers/dense", kernel=None, bias=None),
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
        return _numbered_layers(4, arguments["num_layers"])


class ElectraKerasHub(BertKerasHub):
    """Reads and writes presets of KerasHub's `ElectraBackbone`.

    `initializer_range` is not written, because loaded weights are not initialised.
    """

    optional = ("pooled_dense/*",)

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in config.items() if name not in (_VOCABULARY, "embedding_dim")}
        counts = (_VOCABULARY, "hidden_dim", "embedding_dim")
        _ELECTRA.check_counts(config, counts)
        arguments = super().arguments(own | {"vocabulary_size": config[_VOCABULARY]})
        width = config["embedding_dim"]
        return arguments | {"embedding_dim": None if width == config["hidden_dim"] else width}

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        fields = super().config({**arguments, "embedding_dim": None})
        width = arguments["embedding_dim"] or arguments["hidden_dim"]
        return {_VOCABULARY: fields.pop("vocabulary_size"), **fields, "embedding_dim": width}

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = super().rules(arguments)
        if not arguments.get("pooler", True):
            rules = {weight: rule for weight, rule in rules.items() if not weight.startswith("pooled_dense/")}
        if not _has_projection(arguments):
            return rules
        pooler = (
            TensorRule.numbered("pooled_dense", "layers/dense_1", kernel=None, bias=None)
            if arguments.get("pooler", True)
            else {}
        )
        return rules | pooler | TensorRule.numbered("embeddings_projection", "layers/dense", kernel=None, bias=None)

    def numbered_layers(self, arguments: Mapping[str, Any]) -> dict[int, str]:
        """Numbers as in BERT, with the projection after the embeddings' norm."""
        if not _has_projection(arguments):
            return super().numbered_layers(arguments)
        return {4: "embeddings_projection"} | _numbered_layers(5, arguments["num_layers"])


def _has_projection(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("embedding_dim") not in (None, arguments["hidden_dim"])


def _numbered_layers(start: int, count: int) -> dict[int, str]:
    """Returns the paths of the linear layers by their numbers, which start after those of the embeddings."""
    numbers = {start + 10 * count: "pooled_dense"}
    for i in range(count):
        layer, first = f"transformer_layer_{i}", start + 10 * i
        numbers |= {
            first + 1: f"{layer}/feedforward_output_dense",
            first + 2: f"{layer}/feedforward_intermediate_dense",
            first + 6: f"{layer}/self_attention/attention_output",
            first + 7: f"{layer}/self_attention/value",
            first + 8: f"{layer}/self_attention/key",
            first + 9: f"{layer}/self_attention/query",
        }
    return numbers
