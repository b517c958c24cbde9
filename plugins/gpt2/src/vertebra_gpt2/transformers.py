"""Translation of GPT-2 from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation, activations

_CONFIG = ForeignConfig("transformers", "transformers' GPT-2")
_FIELDS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "n_layer",
    "num_heads": "n_head",
    "hidden_dim": "n_embd",
    "intermediate_dim": "n_inner",
    "dropout": "resid_pdrop",
    "max_sequence_length": "n_positions",
    "layer_norm_epsilon": "layer_norm_epsilon",
    "initializer_range": "initializer_range",
    "scale_attention": "scale_attn_weights",
    "scale_attention_by_inverse_layer_index": "scale_attn_by_inverse_layer_idx",
}
"""transformers' names of arguments that have the same meaning there."""
_RATES = {"attention_dropout": "attn_pdrop", "embedding_dropout": "embd_pdrop"}
"""transformers' names of rates that follow `dropout` if they are None."""

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 50257,
    "n_layer": 12,
    "n_head": 12,
    "n_embd": 768,
    "n_inner": None,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.02,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
}
"""Defaults of transformers' GPT2Config for fields that a config omits.

Its fields for summaries and tokens concern heads only, and are not read. Nor is `reorder_and_upcast_attn`, which
computes attention scores in float32 in a model of lower precision: it changes only their rounding, and fused attention
always does so.
"""

_ALIASES = {
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
}
"""Alternative names of fields, which transformers prefers if a config has both."""

_OTHER_ARCHITECTURE = {
    "add_cross_attention": (False, None),
    "is_causal": (True, None),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
"""Fields that change the architecture, with the supported values."""

_COUNTS = ("vocab_size", "n_layer", "n_head", "n_embd", "n_inner", "n_positions")


class GPT2Transformers(Translation):
    """Reads and writes checkpoints of `GPT2Model`, and reads those of models with a head on top of it."""

    prefixes = ("", "transformer.")
    # Old checkpoints also hold the causal mask, and the score of masked positions.
    ignored = ("h.*.attn.bias", "h.*.attn.masked_bias")

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE)
        fields = _fields(config)
        _CONFIG.check_counts(fields, _COUNTS, layers="n_layer")
        dropout = fields["resid_pdrop"]
        # None follows `dropout`, also if from_preset(dropout=...) overrides it.
        rates = {ours: None if fields[theirs] == dropout else fields[theirs] for ours, theirs in _RATES.items()}
        activation = _CONFIG.activation("activation_function", fields["activation_function"])
        return {ours: fields[theirs] for ours, theirs in _FIELDS.items()} | rates | {"activation": activation}

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        fields = {theirs: arguments[ours] for ours, theirs in (_FIELDS | _RATES).items()}
        for rate in _RATES.values():
            if fields[rate] is None:
                fields[rate] = arguments["dropout"]
        # Where transformers expects a float, it refuses an int.
        typed = {name: float(value) if type(_DEFAULTS[name]) is float else value for name, value in fields.items()}
        return {
            "architectures": ["GPT2Model"],
            "model_type": "gpt2",
            **typed,
            "activation_function": activations.transformers_name(arguments["activation"]),
        }

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule("wte.weight", tied="lm_head.weight"),
            "position_embedding/embeddings": TensorRule("wpe.weight"),
            **TensorRule.norm("layer_norm", "ln_f"),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"h.{i}"
            rules |= {
                **TensorRule.norm(f"{ours}/self_attention_layer_norm", f"{theirs}.ln_1"),
                **_dense(f"{ours}/self_attention/query", f"{theirs}.attn.c_attn", part=(0, 3)),
                **_dense(f"{ours}/self_attention/key", f"{theirs}.attn.c_attn", part=(1, 3)),
                **_dense(f"{ours}/self_attention/value", f"{theirs}.attn.c_attn", part=(2, 3)),
                **_dense(f"{ours}/self_attention/attention_output", f"{theirs}.attn.c_proj"),
                **TensorRule.norm(f"{ours}/feedforward_layer_norm", f"{theirs}.ln_2"),
                **_dense(f"{ours}/feedforward_intermediate_dense", f"{theirs}.mlp.c_fc"),
                **_dense(f"{ours}/feedforward_output_dense", f"{theirs}.mlp.c_proj"),
            }
        return rules


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a value for each field of `_DEFAULTS`."""
    aliased = {field: config[alias] for alias, field in _ALIASES.items() if alias in config}
    given = {**config, **aliased}
    fields = _DEFAULTS | {name: given[name] for name in _DEFAULTS if given.get(name) is not None}
    if fields["n_inner"] is None and isinstance(fields["n_embd"], int):
        fields["n_inner"] = 4 * fields["n_embd"]
    return fields


def _dense(ours: str, theirs: str, part: tuple[int, int] | None = None) -> dict[str, TensorRule]:
    # transformers' GPT-2 stores kernels as inputs × outputs, unlike its other models.
    return {
        f"{ours}/kernel": TensorRule(f"{theirs}.weight", part=part),
        f"{ours}/bias": TensorRule(f"{theirs}.bias", part=part),
    }
