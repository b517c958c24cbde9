"""Translation of Gemma 1 and 2 from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation, activations
from vertebra_gemma import transformers_shared as shared
from vertebra_gemma.arguments import FULL, SLIDING, alternating, gemma_layer_types, query_scalar

_CONFIG = ForeignConfig("transformers", "transformers' Gemma")
_GEMMA1_ACTIVATIONS = activations.TRANSFORMERS | {"gelu": "gelu_approximate"}
"""Our names of Gemma 1's activations; its first configs mean the tanh approximation by `gelu`."""

_DEFAULTS: dict[str, Any] = shared.DEFAULTS | {"vocab_size": 256000, "rope_theta": 10_000.0}
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

# Depending on the attention kernel and on padding, transformers then computes an encoder, or ignores the field.
_OTHER_ARCHITECTURE = shared.OTHER_ARCHITECTURE | {"use_bidirectional_attention": (False, None)}

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

_GEMMA1_NORMS = {"pre_attention_norm": "input_layernorm", "pre_ffw_norm": "post_attention_layernorm"}
"""Normalisations of a layer of Gemma 1, where `post_attention_layernorm` is another one than later."""


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
        _CONFIG.check_counts(fields, (*shared.COUNTS.values(), "intermediate_size"), layers="num_hidden_layers")
        post_norms = config["model_type"] == "gemma2"
        arguments = {ours: fields[theirs] for ours, theirs in shared.COUNTS.items()} | {
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
            **{theirs: arguments[ours] for ours, theirs in shared.COUNTS.items()},
            "intermediate_size": arguments["intermediate_dim"] // 2,
            # transformers refuses an int in a field for a float, such as a rate of 0.
            "rms_norm_eps": float(arguments["layer_norm_epsilon"]),
            "attention_bias": arguments["attention_bias"],
            "attention_dropout": float(arguments["attention_dropout"] or 0),
            "hidden_act" if is_gemma1 else "hidden_activation": shared.activation_name(arguments["activation"]),
            "rope_parameters": shared.rope_parameters(
                arguments["rope_max_wavelength"], arguments["rope_scaling_factor"]
            ),
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
        return shared.rules(arguments, _GEMMA1_NORMS if _is_gemma1(arguments) else shared.NORMS)


# === Differences between model types ===


def _is_gemma1(arguments: Mapping[str, Any]) -> bool:
    needed = ("attention_logit_soft_cap", "final_logit_soft_cap", "use_sliding_window_attention")
    needed += ("use_post_ffw_norm", "use_post_attention_norm")
    return not any(arguments[name] for name in needed) and query_scalar(arguments) == arguments["head_dim"]


def _gemma2_arguments(config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: config.get(name, value) for name, value in _GEMMA2_OPTIONS.items()}
    types = _layer_types(config, fields["num_hidden_layers"], options["sliding_window"])
    return {
        **shared.query_arguments(fields),
        "attention_logit_soft_cap": options["attn_logit_softcapping"],
        "final_logit_soft_cap": options["final_logit_softcapping"],
        "use_sliding_window_attention": SLIDING in types,
        "sliding_window_size": shared.otherwise(options["sliding_window"], _GEMMA2_OPTIONS["sliding_window"]),
        "layer_types": types if SLIDING in types and types != alternating(len(types)) else None,
    }


def _gemma2_fields(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "query_pre_attn_scalar": shared.query_field(_CONFIG, arguments),
        "attn_logit_softcapping": shared.optional_float(arguments["attention_logit_soft_cap"]),
        "final_logit_softcapping": shared.optional_float(arguments["final_logit_soft_cap"]),
        "sliding_window": arguments["sliding_window_size"],
        "layer_types": gemma_layer_types(arguments),
    }


# === Fields ===


def _activation(config: Mapping[str, Any], is_gemma1: bool) -> str:
    if not is_gemma1:
        return shared.activation(_CONFIG, config, "hidden_activation", activations.TRANSFORMERS)
    # Configs of 2024 have both fields, and releases of transformers differ in the one that they use.
    activation = shared.activation(_CONFIG, config, "hidden_act", _GEMMA1_ACTIVATIONS)
    other = config.get("hidden_activation")
    if other is not None:
        meaning = shared.activation(_CONFIG, config, "hidden_activation", _GEMMA1_ACTIVATIONS)
        if meaning != activation:
            raise _CONFIG.refusal("hidden_activation", other, f"but hidden_act means {activation}")
    return activation


def _rotation(config: Mapping[str, Any], base: float) -> dict[str, Any]:
    """Reads rotary embeddings as transformers 5 writes them, in `rope_parameters`, or as older releases did."""
    field = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    base, factor = shared.rotation(_CONFIG, field, config.get(field) or {}, base)
    return {"rope_max_wavelength": base, "rope_scaling_factor": factor}


def _layer_types(config: Mapping[str, Any], count: int, window: int | None) -> list[str]:
    types = shared.otherwise(config.get("layer_types"), alternating(count))
    types = shared.checked_types(_CONFIG, types, count)
    return [FULL] * count if window is None else list(types)
