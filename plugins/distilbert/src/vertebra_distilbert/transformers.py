"""Translation of DistilBERT from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation, activations

_CONFIG = ForeignConfig("transformers", "transformers' DistilBERT")
_FIELDS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "n_layers",
    "num_heads": "n_heads",
    "hidden_dim": "dim",
    "intermediate_dim": "hidden_dim",
    "dropout": "dropout",
    "max_sequence_length": "max_position_embeddings",
    "initializer_range": "initializer_range",
}
"""transformers' names of arguments that have the same meaning there."""

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "n_layers": 6,
    "n_heads": 12,
    "dim": 768,
    "hidden_dim": 3072,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "max_position_embeddings": 512,
    "activation": "gelu",
    "initializer_range": 0.02,
}
"""Defaults of transformers' DistilBertConfig for fields that a config omits."""

_ALIASES = {"num_hidden_layers": "n_layers", "num_attention_heads": "n_heads", "hidden_size": "dim"}
"""Alternative names of fields, which transformers prefers if a config has both."""

_OTHER_ARCHITECTURE = {"pruned_heads": ({}, None), "quantization_config": (None,)}
"""Fields that change the architecture, with the supported values."""

_COUNTS = ("vocab_size", "n_layers", "n_heads", "dim", "hidden_dim", "max_position_embeddings")


class DistilBertTransformers(Translation):
    """Reads and writes checkpoints of `DistilBertModel`, and reads those of models with a head on top of it."""

    prefixes = ("", "distilbert.")
    ignored = ("embeddings.position_ids",)

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE)
        given = {**config, **{field: config[alias] for alias, field in _ALIASES.items() if alias in config}}
        fields = _DEFAULTS | {name: given[name] for name in _DEFAULTS if given.get(name) is not None}
        _CONFIG.check_counts(fields, _COUNTS, layers="n_layers")
        # None follows `dropout`, also if from_preset(dropout=...) overrides it.
        same_rates = fields["attention_dropout"] == fields["dropout"]
        return {ours: fields[theirs] for ours, theirs in _FIELDS.items()} | {
            "attention_dropout": None if same_rates else fields["attention_dropout"],
            "activation": _CONFIG.activation("activation", fields["activation"]),
        }

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        attention = arguments["attention_dropout"]
        fields = {theirs: arguments[ours] for ours, theirs in _FIELDS.items()}
        # Where transformers expects a float, it refuses an int.
        typed = {name: float(value) if type(_DEFAULTS[name]) is float else value for name, value in fields.items()}
        return {
            "architectures": ["DistilBertModel"],
            "model_type": "distilbert",
            **typed,
            "attention_dropout": float(arguments["dropout"] if attention is None else attention),
            "activation": activations.transformers_name(arguments["activation"]),
            "pad_token_id": 0,
        }

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule(
                "embeddings.word_embeddings.weight", tied="vocab_projector.weight"
            ),
            "position_embedding/embeddings": TensorRule("embeddings.position_embeddings.weight"),
            **TensorRule.norm("embeddings_layer_norm", "embeddings.LayerNorm"),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"transformer.layer.{i}"
            rules |= {
                **TensorRule.dense(f"{ours}/self_attention/query", f"{theirs}.attention.q_lin"),
                **TensorRule.dense(f"{ours}/self_attention/key", f"{theirs}.attention.k_lin"),
                **TensorRule.dense(f"{ours}/self_attention/value", f"{theirs}.attention.v_lin"),
                **TensorRule.dense(f"{ours}/self_attention/attention_output", f"{theirs}.attention.out_lin"),
                **TensorRule.norm(f"{ours}/self_attention_layer_norm", f"{theirs}.sa_layer_norm"),
                **TensorRule.dense(f"{ours}/feedforward_intermediate_dense", f"{theirs}.ffn.lin1"),
                **TensorRule.dense(f"{ours}/feedforward_output_dense", f"{theirs}.ffn.lin2"),
                **TensorRule.norm(f"{ours}/feedforward_layer_norm", f"{theirs}.output_layer_norm"),
            }
        return rules

    def current_name(self, tensor: str) -> str:
        # Checkpoints converted from TensorFlow have its names for the weights of layer normalisation.
        return tensor.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
