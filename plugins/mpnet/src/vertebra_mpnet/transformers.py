"""Translation of MPNet from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation, activations

_CONFIG = ForeignConfig("transformers", "transformers' MPNet")
_FIELDS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "dropout": "hidden_dropout_prob",
    "layer_norm_epsilon": "layer_norm_eps",
    "initializer_range": "initializer_range",
}
"""transformers' names of arguments that have the same meaning there."""

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30527,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
}
"""Defaults of transformers' MPNetConfig for fields that a config omits."""

_OTHER_ARCHITECTURE = {
    "relative_attention_num_buckets": (32, None),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
"""Fields that change the architecture, with the supported values."""

_COUNTS = (
    *("vocab_size", "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"),
    "max_position_embeddings",
)
_PAD_TOKEN_ID = 1
"""The id of padding, whatever the config says."""
_POOLER = "add_pooling_layer"
"""The argument of transformers' classes without which they have a pooler."""


class MPNetTransformers(Translation):
    """Reads and writes checkpoints of `MPNetModel`, and reads those of models with a head on top of it."""

    prefixes = ("", "mpnet.")
    ignored = ("embeddings.position_ids",)
    optional = ("pooled_dense/*",)

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE)
        fields = _DEFAULTS | {name: config[name] for name in _DEFAULTS if config.get(name) is not None}
        _CONFIG.check_counts(fields, _COUNTS, layers="num_hidden_layers")
        # None follows `dropout`, also if from_preset(dropout=...) overrides it.
        same_rates = fields["attention_probs_dropout_prob"] == fields["hidden_dropout_prob"]
        return {ours: fields[theirs] for ours, theirs in _FIELDS.items()} | {
            "max_sequence_length": _positions(fields),
            "attention_dropout": None if same_rates else fields["attention_probs_dropout_prob"],
            "activation": _CONFIG.activation("hidden_act", fields["hidden_act"]),
            "pooler": config.get(_POOLER) is not False,
        }

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        attention = arguments["attention_dropout"]
        fields = {theirs: arguments[ours] for ours, theirs in _FIELDS.items()}
        # Where transformers expects a float, it refuses an int.
        typed = {name: float(value) if type(_DEFAULTS[name]) is float else value for name, value in fields.items()}
        return {
            "architectures": ["MPNetModel"],
            "model_type": "mpnet",
            **typed,
            "max_position_embeddings": arguments["max_sequence_length"] + _PAD_TOKEN_ID + 1,
            "attention_probs_dropout_prob": float(arguments["dropout"] if attention is None else attention),
            "hidden_act": activations.transformers_name(arguments["activation"]),
            "relative_attention_num_buckets": 32,
            "pad_token_id": _PAD_TOKEN_ID,
            **({} if arguments["pooler"] else {_POOLER: False}),
        }

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule(
                "embeddings.word_embeddings.weight", tied="lm_head.decoder.weight"
            ),
            "position_embedding/embeddings": TensorRule("embeddings.position_embeddings.weight"),
            "relative_attention_bias/embeddings": TensorRule("encoder.relative_attention_bias.weight"),
            **TensorRule.norm("embeddings_layer_norm", "embeddings.LayerNorm"),
            **(TensorRule.dense("pooled_dense", "pooler.dense") if arguments["pooler"] else {}),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"encoder.layer.{i}"
            rules |= {
                **TensorRule.dense(f"{ours}/self_attention/query", f"{theirs}.attention.attn.q"),
                **TensorRule.dense(f"{ours}/self_attention/key", f"{theirs}.attention.attn.k"),
                **TensorRule.dense(f"{ours}/self_attention/value", f"{theirs}.attention.attn.v"),
                **TensorRule.dense(f"{ours}/self_attention/attention_output", f"{theirs}.attention.attn.o"),
                **TensorRule.norm(f"{ours}/self_attention_layer_norm", f"{theirs}.attention.LayerNorm"),
                **TensorRule.dense(f"{ours}/feedforward_intermediate_dense", f"{theirs}.intermediate.dense"),
                **TensorRule.dense(f"{ours}/feedforward_output_dense", f"{theirs}.output.dense"),
                **TensorRule.norm(f"{ours}/feedforward_layer_norm", f"{theirs}.output.LayerNorm"),
            }
        return rules

    def current_name(self, tensor: str) -> str:
        # Checkpoints converted from TensorFlow have its names for the weights of layer normalisation.
        return tensor.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _positions(fields: Mapping[str, Any]) -> int:
    """Returns the number of positions of tokens, which follow that of padding."""
    rows = fields["max_position_embeddings"]
    if rows < _PAD_TOKEN_ID + 2:
        raise _CONFIG.refusal("max_position_embeddings", rows, f"expected at least {_PAD_TOKEN_ID + 2}")
    return rows - _PAD_TOKEN_ID - 1
