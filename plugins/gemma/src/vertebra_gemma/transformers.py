"""Translation of Gemma from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation, activations

_CONFIG = ForeignConfig("transformers", "transformers' Gemma")
_GEMMA1_ACTIVATIONS = activations.TRANSFORMERS | {"gelu": "gelu_approximate"}
"""Our names of Gemma 1's activations; its first configs mean the tanh approximation by `gelu`."""
_WRITTEN_ACTIVATIONS = {"gelu": "gelu_python", "gelu_approximate": "gelu_pytorch_tanh"}
"""transformers' names that have the same meaning in all its Gemma classes, as its own checkpoints use them."""

_COUNTS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_query_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "hidden_dim": "hidden_size",
    "head_dim": "head_dim",
}
"""transformers' names of sizes that have the same meaning there."""

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 256000,
    "head_dim": 256,
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rope_theta": 10_000.0,
}
_GEMMA1_DEFAULTS = _DEFAULTS | {
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "hidden_size": 3072,
    "intermediate_size": 24576,
}
_GEMMA2_DEFAULTS = _DEFAULTS | {
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "query_pre_attn_scalar": 256,
}
"""Defaults of transformers for fields that a config omits.

Other fields are not read: `max_position_embeddings` has no effect with these rotations, and the fields for tokens and
tied weights concern heads only. Loading warns if `tie_word_embeddings` is false.
"""
_GEMMA2_OPTIONS: dict[str, Any] = {
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "sliding_window": 4096,
}
"""Defaults of fields for which null means that the feature is off."""

_OTHER_ARCHITECTURE = {
    # Depending on the attention kernel and on padding, transformers then computes an encoder, or ignores the field.
    "use_bidirectional_attention": (False, None),
    "is_causal": (True, None),
    "add_cross_attention": (False, None),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
}
"""Fields that change the architecture, with the supported values."""

_SLIDING, _FULL = "sliding_attention", "full_attention"
_GEMMA1_ARGUMENTS: dict[str, Any] = {
    "query_head_dim_normalize": True,
    "query_pre_attention_scalar": None,
    "attention_logit_soft_cap": None,
    "final_logit_soft_cap": None,
    "use_sliding_window_attention": False,
    "sliding_window_size": 4096,
    "layer_types": None,
}
"""Arguments without a field in a Gemma 1 config."""

_KERNELS = {
    "attention/query": "self_attn.q_proj",
    "attention/key": "self_attn.k_proj",
    "attention/value": "self_attn.v_proj",
    "attention/attention_output": "self_attn.o_proj",
    "ffw_gating": "mlp.gate_proj",
    "ffw_gating_2": "mlp.up_proj",
    "ffw_linear": "mlp.down_proj",
}
_NORMS = {
    True: {"pre_attention_norm": "input_layernorm", "pre_ffw_norm": "post_attention_layernorm"},
    False: {
        "pre_attention_norm": "input_layernorm",
        "post_attention_norm": "post_attention_layernorm",
        "pre_ffw_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
}
"""Normalisations of a layer, by whether it is Gemma 1: `post_attention_layernorm` differs between the two."""


class GemmaTransformers(Translation):
    """Reads and writes checkpoints of `GemmaModel`, `Gemma2Model` and `VaultGemmaModel`, and reads those with a head.

    VaultGemma is Gemma 2 without normalisation after attention and feed-forward network (arXiv:2510.15001).
    `initializer_range` is written only if it is set, because loaded weights are not initialised.
    """

    prefixes = ("", "model.")
    # Old checkpoints also hold the frequencies of the rotations.
    ignored = ("*rotary_emb.inv_freq",)

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE)
        is_gemma1 = config["model_type"] == "gemma"
        defaults = _GEMMA1_DEFAULTS if is_gemma1 else _GEMMA2_DEFAULTS
        fields = defaults | {name: config[name] for name in defaults if config.get(name) is not None}
        _CONFIG.check_counts(fields, (*_COUNTS.values(), "intermediate_size"), layers="num_hidden_layers")
        post_norms = config["model_type"] == "gemma2"
        arguments = {ours: fields[theirs] for ours, theirs in _COUNTS.items()} | {
            "intermediate_dim": 2 * fields["intermediate_size"],
            "use_post_ffw_norm": post_norms,
            "use_post_attention_norm": post_norms,
            "layer_norm_epsilon": fields["rms_norm_eps"],
            "dropout": 0.0,
            "attention_dropout": fields["attention_dropout"] or None,
            "activation": _activation(config, is_gemma1),
            "attention_bias": fields["attention_bias"],
            "initializer_range": config.get("initializer_range"),
            **_rotation(config, fields["rope_theta"]),
        }
        return arguments | (_GEMMA1_ARGUMENTS if is_gemma1 else _gemma2_arguments(config, fields))

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if arguments["dropout"]:
            raise _CONFIG.limit(
                arguments, "dropout", "its Gemma drops attention probabilities only; set attention_dropout"
            )
        if arguments["use_post_ffw_norm"] != arguments["use_post_attention_norm"]:
            raise _CONFIG.limit(
                arguments,
                "use_post_ffw_norm",
                "its Gemmas normalise after attention and feed-forward network, or after neither",
            )
        is_gemma1 = _is_gemma1(arguments)
        name = "Gemma" if is_gemma1 else "Gemma2" if arguments["use_post_ffw_norm"] else "VaultGemma"
        config = {
            "architectures": [f"{name}Model"],
            "model_type": name.lower(),
            **{theirs: arguments[ours] for ours, theirs in _COUNTS.items()},
            "intermediate_size": arguments["intermediate_dim"] // 2,
            # transformers refuses an int in a field for a float, such as a rate of 0.
            "rms_norm_eps": float(arguments["layer_norm_epsilon"]),
            "attention_bias": arguments["attention_bias"],
            "attention_dropout": float(arguments["attention_dropout"] or 0),
            "hidden_act" if is_gemma1 else "hidden_activation": _activation_name(arguments["activation"]),
            "rope_parameters": _rope_parameters(arguments),
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            **({} if is_gemma1 else _gemma2_fields(arguments)),
        }
        if arguments["initializer_range"] is not None:
            config["initializer_range"] = float(arguments["initializer_range"])
        return config

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return () if arguments["use_sliding_window_attention"] else ("sliding_window_size", "layer_types")

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule("embed_tokens.weight", tied="lm_head.weight"),
            "final_normalization/scale": TensorRule("norm.weight"),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"decoder_block_{i}", f"layers.{i}"
            for name, module in _NORMS[_is_gemma1(arguments)].items():
                if arguments.get(f"use_{name}", True):
                    rules[f"{ours}/{name}/scale"] = TensorRule(f"{theirs}.{module}.weight")
            for name, module in _KERNELS.items():
                rules[f"{ours}/{name}/kernel"] = TensorRule(f"{theirs}.{module}.weight", transpose=True)
                if arguments["attention_bias"] and name.startswith("attention/"):
                    rules[f"{ours}/{name}/bias"] = TensorRule(f"{theirs}.{module}.bias")
        return rules


# === Differences between model types ===


def _is_gemma1(arguments: Mapping[str, Any]) -> bool:
    needed = ("attention_logit_soft_cap", "final_logit_soft_cap", "use_sliding_window_attention")
    needed += ("use_post_ffw_norm", "use_post_attention_norm")
    return not any(arguments[name] for name in needed) and _query_scalar(arguments) == arguments["head_dim"]


def _gemma2_arguments(config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: config.get(name, value) for name, value in _GEMMA2_OPTIONS.items()}
    types = _layer_types(config, fields["num_hidden_layers"], options["sliding_window"])
    scalar, heads = fields["query_pre_attn_scalar"], fields["num_attention_heads"]
    by_head_dim, by_width = scalar == fields["head_dim"], scalar == fields["hidden_size"] // heads
    return {
        "query_head_dim_normalize": by_head_dim or not by_width,
        "query_pre_attention_scalar": None if by_head_dim or by_width else scalar,
        "attention_logit_soft_cap": options["attn_logit_softcapping"],
        "final_logit_soft_cap": options["final_logit_softcapping"],
        "use_sliding_window_attention": _SLIDING in types,
        "sliding_window_size": _else(options["sliding_window"], _GEMMA2_OPTIONS["sliding_window"]),
        "layer_types": types if _SLIDING in types and types != _alternating(len(types)) else None,
    }


def _gemma2_fields(arguments: Mapping[str, Any]) -> dict[str, Any]:
    scalar, heads = _query_scalar(arguments), arguments["num_query_heads"]
    if scalar != int(scalar):
        raise _CONFIG.limit(arguments, "query_pre_attention_scalar", "it must be an int there")
    if arguments["hidden_dim"] % heads:
        raise _CONFIG.limit(arguments, "num_query_heads", f"it must divide hidden_dim={arguments['hidden_dim']} there")
    count, slides = arguments["num_layers"], arguments["use_sliding_window_attention"]
    return {
        "query_pre_attn_scalar": int(scalar),
        "attn_logit_softcapping": _float(arguments["attention_logit_soft_cap"]),
        "final_logit_softcapping": _float(arguments["final_logit_soft_cap"]),
        "sliding_window": arguments["sliding_window_size"],
        "layer_types": list(arguments["layer_types"] or (_alternating(count) if slides else [_FULL] * count)),
    }


def _query_scalar(arguments: Mapping[str, Any]) -> float:
    """Returns the number whose square root attention scores are divided by."""
    scalar: float | None = arguments["query_pre_attention_scalar"]
    if scalar is not None:
        return scalar
    by_head_dim = arguments["query_head_dim_normalize"]
    return arguments["head_dim"] if by_head_dim else arguments["hidden_dim"] // arguments["num_query_heads"]


# === Fields ===


def _activation(config: Mapping[str, Any], is_gemma1: bool) -> str:
    if not is_gemma1:
        return _meaning(config, "hidden_activation", activations.TRANSFORMERS)
    # Configs of 2024 have both fields, and releases of transformers differ in the one that they use.
    activation = _meaning(config, "hidden_act", _GEMMA1_ACTIVATIONS)
    other = config.get("hidden_activation")
    if other is not None and _meaning(config, "hidden_activation", _GEMMA1_ACTIVATIONS) != activation:
        raise _CONFIG.refusal("hidden_activation", other, f"but hidden_act means {activation}")
    return activation


def _meaning(config: Mapping[str, Any], field: str, names: Mapping[str, str]) -> str:
    return _CONFIG.activation(field, _else(config.get(field), "gelu_pytorch_tanh"), names)


def _activation_name(activation: str) -> str:
    return _WRITTEN_ACTIVATIONS.get(activation) or activations.transformers_name(activation)


def _rotation(config: Mapping[str, Any], base: float) -> dict[str, Any]:
    """Reads rotary embeddings as transformers 5 writes them, in `rope_parameters`, or as older releases did."""
    field = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = config.get(field) or {}
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, Mapping) else None
    if kind not in ("default", "linear") or not {_SLIDING, _FULL}.isdisjoint(rope):
        raise _CONFIG.refusal(field, rope, "expected rope_type 'default' or 'linear', the same for all layers")
    _CONFIG.check_architecture(rope, {"partial_rotary_factor": (1, None)})
    if kind == "linear" and "factor" not in rope:
        raise _CONFIG.refusal(field, rope, "expected a factor with rope_type 'linear'")
    return {
        "rope_max_wavelength": _else(rope.get("rope_theta"), base),
        "rope_scaling_factor": rope["factor"] if kind == "linear" else 1.0,
    }


def _rope_parameters(arguments: Mapping[str, Any]) -> dict[str, Any]:
    base, factor = float(arguments["rope_max_wavelength"]), float(arguments["rope_scaling_factor"])
    if factor == 1:
        return {"rope_type": "default", "rope_theta": base}
    return {"rope_type": "linear", "rope_theta": base, "factor": factor}


def _layer_types(config: Mapping[str, Any], count: int, window: int | None) -> list[str]:
    types = config.get("layer_types")
    if types is None:
        types = _alternating(count)
    if not isinstance(types, list) or len(types) != count or not all(name in (_SLIDING, _FULL) for name in types):
        raise _CONFIG.refusal("layer_types", types, f"expected {_SLIDING!r} or {_FULL!r} for each of {count} layers")
    return [_FULL] * count if window is None else types


def _alternating(count: int) -> list[str]:
    return [_FULL if i % 2 else _SLIDING for i in range(count)]


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _else(value: Any, default: Any) -> Any:
    return default if value is None else value
