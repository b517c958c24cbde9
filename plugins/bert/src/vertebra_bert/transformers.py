"""Translation of BERT and ELECTRA from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation, activations

_CONFIG = ForeignConfig("transformers", "transformers' BERT")
_FIELDS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "dropout": "hidden_dropout_prob",
    "max_sequence_length": "max_position_embeddings",
    "num_segments": "type_vocab_size",
    "layer_norm_epsilon": "layer_norm_eps",
    "initializer_range": "initializer_range",
}
"""transformers' names of arguments that have the same meaning there."""

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
}
"""Defaults of transformers' BertConfig for fields that a config omits."""

_OTHER_ARCHITECTURE = {
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "position_embedding_type": ("absolute", None),
    "embedding_size": (None,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
"""Fields that change the architecture, with the supported values."""


_COUNTS = (
    "vocab_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)


_POOLER = "add_pooling_layer"
"""The argument of transformers' classes without which they have a pooler."""

_ELECTRA = ForeignConfig("transformers", "transformers' ELECTRA")
_ELECTRA_DEFAULTS = {
    "embedding_size": 128,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
"""Defaults of transformers' ElectraConfig that differ from those of BertConfig."""


class BertTransformers(Translation):
    """Reads and writes checkpoints of `BertModel`, and reads those of models with a head on top of it."""

    prefixes = ("", "bert.")
    ignored = ("embeddings.position_ids",)
    optional = ("pooled_dense/*",)

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE)
        fields = _DEFAULTS | {name: config[name] for name in _DEFAULTS if config.get(name) is not None}
        _CONFIG.check_counts(fields, _COUNTS, layers="num_hidden_layers")
        # None follows `dropout`, also if from_preset(dropout=...) overrides it.
        same_rates = fields["attention_probs_dropout_prob"] == fields["hidden_dropout_prob"]
        return {ours: fields[theirs] for ours, theirs in _FIELDS.items()} | {
            "attention_dropout": None if same_rates else fields["attention_probs_dropout_prob"],
            "activation": _CONFIG.activation("hidden_act", fields["hidden_act"]),
            **({"pooler": False} if config.get(_POOLER) is False else {}),
        }

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if arguments["embedding_dim"] not in (None, arguments["hidden_dim"]):
            raise _CONFIG.limit(arguments, "embedding_dim", "its BERT always has hidden_dim; ELECTRA has a projection")
        attention = arguments["attention_dropout"]
        fields = {theirs: arguments[ours] for ours, theirs in _FIELDS.items()}
        # Where transformers expects a float, it refuses an int.
        typed = {name: float(value) if type(_DEFAULTS[name]) is float else value for name, value in fields.items()}
        return {
            "architectures": ["BertModel"],
            "model_type": "bert",
            **typed,
            "attention_probs_dropout_prob": float(arguments["dropout"] if attention is None else attention),
            "hidden_act": activations.transformers_name(arguments["activation"]),
            "position_embedding_type": "absolute",
            "pad_token_id": 0,
            **({} if arguments["pooler"] else {_POOLER: False}),
        }

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule(
                "embeddings.word_embeddings.weight", tied="cls.predictions.decoder.weight"
            ),
            "position_embedding/embeddings": TensorRule("embeddings.position_embeddings.weight"),
            "segment_embedding/embeddings": TensorRule("embeddings.token_type_embeddings.weight"),
            **TensorRule.norm("embeddings_layer_norm", "embeddings.LayerNorm"),
            **(TensorRule.dense("pooled_dense", "pooler.dense") if arguments.get("pooler", True) else {}),
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


class ElectraTransformers(BertTransformers):
    """Reads and writes checkpoints of `ElectraModel`, and reads those of models with a head on top of it."""

    prefixes = ("", "electra.")
    ignored = ("embeddings.position_ids",)
    optional = ()

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        given = _ELECTRA_DEFAULTS | {name: value for name, value in config.items() if value is not None}
        width, hidden = given.pop("embedding_size"), given["hidden_size"]
        _ELECTRA.check_counts({"embedding_size": width}, ("embedding_size",))
        own = {"embedding_dim": None if width == hidden else width, "pooler": False}
        return super().arguments({name: value for name, value in given.items() if name != _POOLER}) | own

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if arguments["pooler"]:
            raise _ELECTRA.limit(
                arguments, "pooler", f"{_ELECTRA.owner} has none; load or convert it with pooler=False"
            )
        fields = super().config({**arguments, "embedding_dim": None, "pooler": True})
        width = arguments["embedding_dim"] or arguments["hidden_dim"]
        return fields | {"architectures": ["ElectraModel"], "model_type": "electra", "embedding_size": width}

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = super().rules(arguments)
        table = "token_embedding/embeddings"
        rules[table] = TensorRule(rules[table].tensor, tied="generator_lm_head.weight")
        if arguments.get("embedding_dim") in (None, arguments["hidden_dim"]):
            return rules
        return rules | TensorRule.dense("embeddings_projection", "embeddings_project")
