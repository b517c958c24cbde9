"""What the transformers formats of all Gemmas share: fields, and names of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vertebra import ForeignConfig, TensorRule, activations
from vertebra_gemma.arguments import FULL, SLIDING, query_scalar

COUNTS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_query_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "hidden_dim": "hidden_size",
    "head_dim": "head_dim",
}
"""transformers' names of sizes that have the same meaning there."""

DEFAULTS: dict[str, Any] = {
    "head_dim": 256,
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "attention_dropout": 0.0,
}
"""Defaults that all classes have for fields that a config omits."""

OTHER_ARCHITECTURE = {
    "is_causal": (True, None),
    "add_cross_attention": (False, None),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
}
"""Fields that change the architecture, with the supported values."""

_KERNELS = {
    "attention/query": "self_attn.q_proj",
    "attention/key": "self_attn.k_proj",
    "attention/value": "self_attn.v_proj",
    "attention/attention_output": "self_attn.o_proj",
    "ffw_gating": "mlp.gate_proj",
    "ffw_gating_2": "mlp.up_proj",
    "ffw_linear": "mlp.down_proj",
}
_HEAD_NORMS = {"attention/query_norm": "self_attn.q_norm", "attention/key_norm": "self_attn.k_norm"}
NORMS = {
    "pre_attention_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "pre_ffw_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
"""Normalisations of a layer, from Gemma 2 on."""

_WRITTEN_ACTIVATIONS = {"gelu": "gelu_python", "gelu_approximate": "gelu_pytorch_tanh"}
"""transformers' names that have the same meaning in all its Gemma classes, as its own checkpoints use them."""


def rules(arguments: Mapping[str, Any], norms: Mapping[str, str]) -> dict[str, TensorRule]:
    """Returns the tensor rules; `norms` are the names of the normalisations of a layer, by ours."""
    rules = {
        "token_embedding/embeddings": TensorRule("embed_tokens.weight", tied="lm_head.weight"),
        "final_normalization/scale": TensorRule("norm.weight"),
    }
    used = {name: module for name, module in norms.items() if arguments.get(f"use_{name}", True)}
    used |= _HEAD_NORMS if arguments.get("use_query_key_norm") else {}
    for i in range(arguments["num_layers"]):
        ours, theirs = f"decoder_block_{i}", f"layers.{i}"
        for name, module in used.items():
            rules[f"{ours}/{name}/scale"] = TensorRule(f"{theirs}.{module}.weight")
        for name, module in _KERNELS.items():
            rules[f"{ours}/{name}/kernel"] = TensorRule(f"{theirs}.{module}.weight", transpose=True)
            if arguments["attention_bias"] and name.startswith("attention/"):
                rules[f"{ours}/{name}/bias"] = TensorRule(f"{theirs}.{module}.bias")
    return rules


# === Fields ===


def activation(owner: ForeignConfig, config: Mapping[str, Any], field: str, names: Mapping[str, str]) -> str:
    """Returns our name of the activation that a field names, which is the tanh approximation of GELU by default."""
    return owner.activation(field, otherwise(config.get(field), "gelu_pytorch_tanh"), names)


def activation_name(activation: str) -> str:
    """Returns transformers' name of an activation."""
    return _WRITTEN_ACTIVATIONS.get(activation) or activations.transformers_name(activation)


def query_arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that choose the number whose square root attention scores are divided by."""
    scalar, heads = fields["query_pre_attn_scalar"], fields["num_attention_heads"]
    by_head_dim, by_width = scalar == fields["head_dim"], scalar == fields["hidden_size"] // heads
    return {
        "query_head_dim_normalize": by_head_dim or not by_width,
        "query_pre_attention_scalar": None if by_head_dim or by_width else scalar,
    }


def query_field(owner: ForeignConfig, arguments: Mapping[str, Any]) -> int:
    """Returns the field `query_pre_attn_scalar`.

    Raises:
        FormatLimitError: it would be no int, or the heads do not divide the width, which transformers refuses.
    """
    scalar, heads = query_scalar(arguments), arguments["num_query_heads"]
    if scalar != int(scalar):
        raise owner.limit(arguments, "query_pre_attention_scalar", "it must be an int there")
    if arguments["hidden_dim"] % heads:
        raise owner.limit(arguments, "num_query_heads", f"it must divide hidden_dim={arguments['hidden_dim']} there")
    return int(scalar)


def rotation(owner: ForeignConfig, field: str, rope: object, base: float) -> tuple[float, float]:
    """Returns base and scaling factor of rotations.

    Args:
        owner: The config's owner, for messages.
        field: The field that has the parameters.
        rope: The parameters, as transformers 5 or older releases write them.
        base: The base for parameters without one.

    Raises:
        PresetConfigError: other rotations are asked for.
    """
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, Mapping) else None
    if kind not in ("default", "linear") or not {SLIDING, FULL}.isdisjoint(rope):  # type: ignore[call-overload]
        raise owner.refusal(field, rope, "expected rope_type 'default' or 'linear', the same for all layers")
    owner.check_architecture(rope, {"partial_rotary_factor": (1, None)})
    if kind == "linear" and "factor" not in rope:
        raise owner.refusal(field, rope, "expected a factor with rope_type 'linear'")
    return otherwise(rope.get("rope_theta"), base), rope["factor"] if kind == "linear" else 1.0


def rope_parameters(base: float, factor: float) -> dict[str, Any]:
    """Returns the parameters of rotations, as transformers 5 writes them."""
    if factor == 1:
        return {"rope_type": "default", "rope_theta": float(base)}
    return {"rope_type": "linear", "rope_theta": float(base), "factor": float(factor)}


def checked_types(owner: ForeignConfig, types: object, count: int) -> Sequence[str]:
    """Returns the value of `layer_types`.

    Raises:
        PresetConfigError: it is not the type of each layer.
    """
    if not isinstance(types, list) or len(types) != count or not all(name in (SLIDING, FULL) for name in types):
        raise owner.refusal("layer_types", types, f"expected {SLIDING!r} or {FULL!r} for each of {count} layers")
    return types


def optional_float(value: float | None) -> float | None:
    """Returns a float, because transformers refuses an int in a field for one, or None."""
    return None if value is None else float(value)


def otherwise(value: Any, default: Any) -> Any:
    """Returns a value, or the default if it is None."""
    return default if value is None else value
