"""Translation of ModernBERT from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation, activations

_CONFIG = ForeignConfig("transformers", "transformers' ModernBERT")
_FIELDS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "dropout": "mlp_dropout",
    "max_sequence_length": "max_position_embeddings",
    "attention_dropout": "attention_dropout",
    "embedding_dropout": "embedding_dropout",
    "local_attention": "local_attention",
    "layer_norm_epsilon": "norm_eps",
    "norm_bias": "norm_bias",
    "attention_bias": "attention_bias",
    "feedforward_bias": "mlp_bias",
    "initializer_range": "initializer_range",
}
"""transformers' names of arguments that have the same meaning there."""

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 50368,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "hidden_size": 768,
    "intermediate_size": 1152,
    "mlp_dropout": 0.0,
    "max_position_embeddings": 8192,
    "attention_dropout": 0.0,
    "embedding_dropout": 0.0,
    "local_attention": 128,
    "norm_eps": 1e-5,
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "initializer_range": 0.02,
    "hidden_activation": "gelu",
}
"""Defaults of transformers' ModernBertConfig for fields that a config omits."""

_SLIDING, _FULL = "sliding_attention", "full_attention"
_WAVELENGTHS = {
    "global_max_wavelength": (_FULL, "global_rope_theta", 160_000.0),
    "local_max_wavelength": (_SLIDING, "local_rope_theta", 10_000.0),
}
"""The type of layers of each base of wavelengths, its field in transformers 4, and its default."""
_EVERY = "global_attn_every_n_layers"
"""The field of transformers 4 for the types of layers, which is 3 by default."""

_OTHER_ARCHITECTURE = {"rope_scaling": (None,), "quantization_config": (None,)}
"""Fields that change the architecture, with the supported values."""

_COUNTS = (
    *("vocab_size", "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"),
    *("max_position_embeddings", "local_attention"),
)


class ModernBertTransformers(Translation):
    """Reads and writes checkpoints of `ModernBertModel`, and reads those of models with a head on top of it.

    Configs of transformers 4 and 5 are read; those that are written have the fields of both. `max_position_embeddings`
    has no effect with rotary positions; it is kept for tokenizers.
    """

    prefixes = ("", "model.")

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE)
        fields = _DEFAULTS | {name: config[name] for name in _DEFAULTS if config.get(name) is not None}
        _CONFIG.check_counts(fields, _COUNTS, layers="num_hidden_layers")
        return {ours: fields[theirs] for ours, theirs in _FIELDS.items()} | {
            "layer_types": _layer_types(config, fields["num_hidden_layers"]),
            "activation": _CONFIG.activation("hidden_activation", fields["hidden_activation"]),
            **_wavelengths(config),
        }

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        fields = {theirs: arguments[ours] for ours, theirs in _FIELDS.items()}
        # Where transformers expects a float, it refuses an int.
        typed = {name: float(value) if type(_DEFAULTS[name]) is float else value for name, value in fields.items()}
        bases = {kind: float(arguments[name]) for name, (kind, _, _) in _WAVELENGTHS.items()}
        older = {field: float(arguments[name]) for name, (_, field, _) in _WAVELENGTHS.items()}
        types = arguments["layer_types"] or _every(arguments["num_layers"], 3)
        return {
            "architectures": ["ModernBertModel"],
            "model_type": "modernbert",
            **typed,
            "hidden_activation": activations.transformers_name(arguments["activation"]),
            "layer_types": types,
            "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
            **older,
            # By default, transformers' padding has an id that smaller vocabularies lack.
            "pad_token_id": None,
            **_older_pattern(types),
        }

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        bias = arguments["norm_bias"]
        rules = {
            "token_embedding/embeddings": TensorRule("embeddings.tok_embeddings.weight", tied="decoder.weight"),
            **TensorRule.norm("embeddings_layer_norm", "embeddings.norm", bias=bias),
            **TensorRule.norm("layer_norm", "final_norm", bias=bias),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"layers.{i}"
            if i:  # the first layer has no norm before attention
                rules |= TensorRule.norm(f"{ours}/self_attention_layer_norm", f"{theirs}.attn_norm", bias=bias)
            rules |= TensorRule.norm(f"{ours}/feedforward_layer_norm", f"{theirs}.mlp_norm", bias=bias)
            for number, name in enumerate(("query", "key", "value")):
                dense = f"{ours}/self_attention/{name}"
                rules |= TensorRule.dense(
                    dense, f"{theirs}.attn.Wqkv", bias=arguments["attention_bias"], part=(number, 3)
                )
            rules |= TensorRule.dense(
                f"{ours}/self_attention/attention_output", f"{theirs}.attn.Wo", bias=arguments["attention_bias"]
            )
            for number, name in enumerate(("gate", "intermediate")):
                dense = f"{ours}/feedforward_{name}_dense"
                rules |= TensorRule.dense(
                    dense, f"{theirs}.mlp.Wi", bias=arguments["feedforward_bias"], part=(number, 2)
                )
            rules |= TensorRule.dense(
                f"{ours}/feedforward_output_dense", f"{theirs}.mlp.Wo", bias=arguments["feedforward_bias"]
            )
        return rules


def _layer_types(config: Mapping[str, Any], count: int) -> list[str] | None:
    """Returns the types of layers, or None for the pattern that the class has by default."""
    types, every = config.get("layer_types"), config.get(_EVERY)
    if types is None:
        if every is None:
            return None
        if type(every) is not int or every < 1:
            raise _CONFIG.refusal(_EVERY, every, "expected an int from 1")
        types = _every(count, every)
    elif not isinstance(types, list) or len(types) != count or not all(kind in (_SLIDING, _FULL) for kind in types):
        expected = f"expected {_SLIDING!r} or {_FULL!r} for each of the {count} layers"
        raise _CONFIG.refusal("layer_types", types, expected)
    return None if types == _every(count, 3) else types


def _every(count: int, every: int) -> list[str]:
    """Returns the types of layers, of which each `every`-th has full attention."""
    return [_SLIDING if i % every else _FULL for i in range(count)]


def _older_pattern(types: list[str]) -> dict[str, int]:
    """Returns the field of transformers 4 for the types of layers, if that can represent them."""
    found = next((every for every in range(1, len(types) + 1) if _every(len(types), every) == types), None)
    return {} if found is None else {_EVERY: found}


def _wavelengths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the bases of wavelengths: from the field of transformers 5, else from those of transformers 4."""
    found: dict[str, Any] = {}
    parameters = config.get("rope_parameters") or {}
    if not isinstance(parameters, dict):
        raise _CONFIG.refusal("rope_parameters", parameters, "expected a table for each type of layers")
    for argument, (kind, field, default) in _WAVELENGTHS.items():
        own = parameters.get(kind) or {}
        if not isinstance(own, dict) or own.get("rope_type", "default") != "default":
            raise _CONFIG.refusal(f"rope_parameters[{kind!r}]", own, "expected a table with the rope_type 'default'")
        # In transformers 4, null means the base of layers with full attention.
        older = config.get(field, default) or found.get("global_max_wavelength", default)
        found[argument] = own.get("rope_theta") or older
    return found
