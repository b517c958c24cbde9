"""GPT-2 in the transformers format: what its config and tensors are called there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import TensorRule, Translation
from vertebra.errors import FormatLimitError, PresetConfigError

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_approximate",
    "gelu_accurate": "gelu_approximate",
    "gelu_fast": "gelu_approximate",
    "gelu_python_tanh": "gelu_approximate",
    "gelu_pytorch_tanh": "gelu_approximate",
    "mish": "mish",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu_squared",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""transformers' names of activations, for those that compute the same; the first of each is the one to write."""

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
_MOST, _MOST_LAYERS = 2**24, 1_000


class GPT2Transformers(Translation):
    """Reads and writes checkpoints of `GPT2Model`, and reads those of any model with a head on top of one."""

    prefixes = ("", "transformer.")
    # Old checkpoints keep the causal mask, and what to put in its place, beside the weights.
    ignored = ("h.*.attn.bias", "h.*.attn.masked_bias")

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        for field, harmless in _OTHER_ARCHITECTURE.items():
            if field in config and config[field] not in harmless:
                raise _refusal(field, config[field], "which makes another architecture of it, not GPT2Backbone")
        fields = _fields(config)
        if fields["activation_function"] not in list(_ACTIVATIONS):  # a config may hold what cannot be a key
            known = ", ".join(sorted(_ACTIVATIONS))
            raise _refusal("activation_function", fields["activation_function"], f"expected one of {known}")
        _check_counts(fields)
        return {
            "vocabulary_size": fields["vocab_size"],
            "num_layers": fields["n_layer"],
            "num_heads": fields["n_head"],
            "hidden_dim": fields["n_embd"],
            "intermediate_dim": fields["n_inner"],
            "dropout": fields["resid_pdrop"],
            "attention_dropout": _unless_same(fields["attn_pdrop"], fields["resid_pdrop"]),
            "embedding_dropout": _unless_same(fields["embd_pdrop"], fields["resid_pdrop"]),
            "max_sequence_length": fields["n_positions"],
            "activation": _ACTIVATIONS[fields["activation_function"]],
            "layer_norm_epsilon": fields["layer_norm_epsilon"],
            "initializer_range": fields["initializer_range"],
            "scale_attention": fields["scale_attn_weights"],
            "scale_attention_by_inverse_layer_index": fields["scale_attn_by_inverse_layer_idx"],
        }

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        dropout = arguments["dropout"]
        # Where a float is meant, transformers refuses an int, such as a rate of 0.
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2Model"],
            "vocab_size": arguments["vocabulary_size"],
            "n_layer": arguments["num_layers"],
            "n_head": arguments["num_heads"],
            "n_embd": arguments["hidden_dim"],
            "n_inner": arguments["intermediate_dim"],
            "n_positions": arguments["max_sequence_length"],
            "resid_pdrop": float(dropout),
            "attn_pdrop": float(_else(arguments["attention_dropout"], dropout)),
            "embd_pdrop": float(_else(arguments["embedding_dropout"], dropout)),
            "activation_function": _activation_name(arguments["activation"]),
            "layer_norm_epsilon": float(arguments["layer_norm_epsilon"]),
            "initializer_range": float(arguments["initializer_range"]),
            "scale_attn_weights": arguments["scale_attention"],
            "scale_attn_by_inverse_layer_idx": arguments["scale_attention_by_inverse_layer_index"],
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


def _unless_same(rate: float, dropout: float) -> float | None:
    # Left to follow `dropout`, it does so when from_preset(dropout=...) overrides that.
    return None if rate == dropout else rate


def _else(rate: float | None, dropout: float) -> float:
    return dropout if rate is None else rate


def _activation_name(activation: str) -> str:
    for theirs, ours in _ACTIVATIONS.items():
        if ours == activation:
            return theirs
    raise FormatLimitError("transformers", "activation", activation, "it has no name for this function")


def _check_counts(fields: Mapping[str, Any]) -> None:
    """Refuses sizes that are none before anything is counted or built by them."""
    for field in _COUNTS:
        if type(fields[field]) is not int or not 0 < fields[field] <= _MOST:
            raise _refusal(field, fields[field], f"expected an int from 1 to {_MOST}")
    if fields["n_layer"] > _MOST_LAYERS:
        raise _refusal("n_layer", fields["n_layer"], f"expected at most {_MOST_LAYERS}")


def _dense(ours: str, theirs: str, part: tuple[int, int] | None = None) -> dict[str, TensorRule]:
    # transformers' GPT-2 keeps kernels as inputs × outputs, unlike its other models.
    return {
        f"{ours}/kernel": TensorRule(f"{theirs}.weight", part=part),
        f"{ours}/bias": TensorRule(f"{theirs}.bias", part=part),
    }


def _norm(ours: str, theirs: str) -> dict[str, TensorRule]:
    return {f"{ours}/gamma": TensorRule(f"{theirs}.weight"), f"{ours}/beta": TensorRule(f"{theirs}.bias")}


def _refusal(field: str, value: object, problem: str) -> PresetConfigError:
    return PresetConfigError(
        "config.json of a transformers GPT-2", f"{field} is {value!r}, {problem}", "Use a checkpoint without it"
    )
