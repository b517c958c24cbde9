"""GPT-2 in the transformers format: what its config and tensors are called there."""

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
"""transformers' name of each argument that means the same there."""
_RATES = {"attention_dropout": "attn_pdrop", "embedding_dropout": "embd_pdrop"}
"""The same for those that follow `dropout` where they are None."""

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
"""What transformers' GPT2Config assumes for a field that a config leaves out.

Of its other fields, those of summaries and tokens are for heads. `reorder_and_upcast_attn` asks for attention scores in
float32 when the rest is of lower precision: it changes their rounding only, and fused attention does so anyway.
"""

_ALIASES = {
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
}
"""Names that transformers takes for a field, too, and prefers where a config has both."""

_OTHER_ARCHITECTURE = {
    "add_cross_attention": (False, None),
    "is_causal": (True, None),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
"""Fields that make another architecture of it, with the values that do not."""

_COUNTS = ("vocab_size", "n_layer", "n_head", "n_embd", "n_inner", "n_positions")


class GPT2Transformers(Translation):
    """Reads and writes checkpoints of `GPT2Model`, and reads those of any model with a head on top of one."""

    prefixes = ("", "transformer.")
    # Old checkpoints keep the causal mask, and what to put in its place, beside the weights.
    ignored = ("h.*.attn.bias", "h.*.attn.masked_bias")

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE)
        fields = _fields(config)
        _CONFIG.check_counts(fields, _COUNTS, layers="n_layer")
        dropout = fields["resid_pdrop"]
        # Left to follow `dropout`, a rate does so when from_preset(dropout=...) overrides that.
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
            "token_embedding/embeddings": TensorRule("wte.weight"),
            "position_embedding/embeddings": TensorRule("wpe.weight"),
            **_norm("layer_norm", "ln_f"),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"h.{i}"
            rules |= {
                **_norm(f"{ours}/self_attention_layer_norm", f"{theirs}.ln_1"),
                **_dense(f"{ours}/self_attention/query", f"{theirs}.attn.c_attn", part=(0, 3)),
                **_dense(f"{ours}/self_attention/key", f"{theirs}.attn.c_attn", part=(1, 3)),
                **_dense(f"{ours}/self_attention/value", f"{theirs}.attn.c_attn", part=(2, 3)),
                **_dense(f"{ours}/self_attention/attention_output", f"{theirs}.attn.c_proj"),
                **_norm(f"{ours}/feedforward_layer_norm", f"{theirs}.ln_2"),
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
    # transformers' GPT-2 keeps kernels as inputs × outputs, unlike its other models.
    return {
        f"{ours}/kernel": TensorRule(f"{theirs}.weight", part=part),
        f"{ours}/bias": TensorRule(f"{theirs}.bias", part=part),
    }


def _norm(ours: str, theirs: str) -> dict[str, TensorRule]:
    return {f"{ours}/gamma": TensorRule(f"{theirs}.weight"), f"{ours}/beta": TensorRule(f"{theirs}.bias")}
