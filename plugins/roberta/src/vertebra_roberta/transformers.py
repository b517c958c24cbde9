"""Translation of RoBERTa from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import ForeignConfig, TensorRule, Translation, activations

_CONFIG = ForeignConfig("transformers", "transformers' RoBERTa")
_FIELDS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "dropout": "hidden_dropout_prob",
    "num_segments": "type_vocab_size",
    "pad_token_id": "pad_token_id",
    "layer_norm_epsilon": "layer_norm_eps",
    "initializer_range": "initializer_range",
}
"""transformers' names of arguments that have the same meaning there."""

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 50265,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "pad_token_id": 1,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
}
"""Defaults of transformers' RobertaConfig for fields that a config omits."""

_OTHER_ARCHITECTURE = {
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "position_embedding_type": ("absolute", None),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
"""Fields that change the architecture, with the supported values."""

_COUNTS = (
    *("vocab_size", "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"),
    *("max_position_embeddings", "type_vocab_size"),
)
_POOLER = "add_pooling_layer"
"""The argument of transformers' classes without which they have a pooler."""


class RobertaTransformers(Translation):
    """Reads and writes checkpoints of `RobertaModel`, and reads those of models with a head on top of it."""

    model_type: ClassVar[str] = "roberta"
    architecture: ClassVar[str] = "RobertaModel"
    vocabulary_size: ClassVar[int] = 50265
    """The default of transformers' config class."""

    prefixes = ("", "roberta.")
    ignored = ("embeddings.position_ids",)
    optional = ("pooled_dense/*",)

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE)
        defaults = _DEFAULTS | {"vocab_size": self.vocabulary_size}
        fields = defaults | {name: config[name] for name in defaults if config.get(name) is not None}
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
            "architectures": [self.architecture],
            "model_type": self.model_type,
            **typed,
            "max_position_embeddings": arguments["max_sequence_length"] + arguments["pad_token_id"] + 1,
            "attention_probs_dropout_prob": float(arguments["dropout"] if attention is None else attention),
            "hidden_act": activations.transformers_name(arguments["activation"]),
            "position_embedding_type": "absolute",
            **({} if arguments["pooler"] else {_POOLER: False}),
        }

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule(
                "embeddings.word_embeddings.weight", tied="lm_head.decoder.weight"
            ),
            "position_embedding/embeddings": TensorRule("embeddings.position_embeddings.weight"),
            "segment_embedding/embeddings": TensorRule("embeddings.token_type_embeddings.weight"),
            **TensorRule.norm("embeddings_layer_norm", "embeddings.LayerNorm"),
            **(TensorRule.dense("pooled_dense", "pooler.dense") if arguments["pooler"] else {}),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"encoder.layer.{i}"
            rules |= {
                **TensorRule.dense(f"{ours}/self_attention/query", f"{theirs}.attention.self.query"),
                **TensorRule.dense(f"{ours}/self_attention/key", f"{theirs}.attention.self.key"),
                **TensorRule.dense(f"{ours}/self_attention/value", f"{theirs}.attention.self.value"),
                **TensorRule.dense(f"{ours}/self_attention/attention_output", f"{theirs}.attention.output.dense"),
                **TensorRule.norm(f"{ours}/self_attention_layer_norm", f"{theirs}.attention.output.LayerNorm"),
                **TensorRule.dense(f"{ours}/feedforward_intermediate_dense", f"{theirs}.intermediate.dense"),
                **TensorRule.dense(f"{ours}/feedforward_output_dense", f"{theirs}.output.dense"),
                **TensorRule.norm(f"{ours}/feedforward_layer_norm", f"{theirs}.output.LayerNorm"),
            }
        return rules

    def current_name(self, tensor: str) -> str:
        # Checkpoints converted from TensorFlow have its names for the weights of layer normalisation.
        return tensor.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


class XLMRobertaTransformers(RobertaTransformers):
    """Reads and writes checkpoints of `XLMRobertaModel`, and reads those of models with a head on top of it."""

    model_type = "xlm-roberta"
    architecture = "XLMRobertaModel"
    vocabulary_size = 30522


class CamembertTransformers(RobertaTransformers):
    """Reads and writes checkpoints of `CamembertModel`, and reads those of models with a head on top of it."""

    model_type = "camembert"
    architecture = "CamembertModel"
    vocabulary_size = 30522


def _positions(fields: Mapping[str, Any]) -> int:
    """Returns the number of positions of tokens, which follow that of padding."""
    padding, rows = fields["pad_token_id"], fields["max_position_embeddings"]
    if type(padding) is not int or not 0 <= padding < min(rows - 1, fields["vocab_size"]):
        expected = "expected an int from 0, below vocab_size and max_position_embeddings - 1"
        raise _CONFIG.refusal("pad_token_id", padding, expected)
    return rows - padding - 1
