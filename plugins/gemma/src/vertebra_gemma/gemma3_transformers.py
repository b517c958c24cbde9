"""Translation of Gemma 3 from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation, activations
from vertebra_gemma import transformers_shared as shared
from vertebra_gemma.arguments import FULL, SLIDING, five_to_one, gemma3_layer_types, periodic

_CONFIG = ForeignConfig("transformers", "transformers' Gemma 3")
_TEXT = "text_config"
"""The field of a multimodal config that has the config of the decoder."""

_DEFAULTS: dict[str, Any] = shared.DEFAULTS | {
    "vocab_size": 262_208,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
    "use_bidirectional_attention": False,
}
"""Defaults of transformers for fields that a config omits; see also those of `GemmaTransformers`."""
_BASES = {FULL: ("rope_theta", 1_000_000.0), SLIDING: ("rope_local_base_freq", 10_000.0)}
"""For each type of layers, the field of transformers 4 with the base of its rotations, and the default."""

_CAP = {"attn_logit_softcapping": (None,)}
"""A field that transformers has and ignores, up to 5.23: no checkpoint can have been trained with a cap."""
_OTHER_ARCHITECTURE = shared.OTHER_ARCHITECTURE | {"use_bidirectional_attention": (False, True, None)}
_OTHER_MULTIMODAL = {"use_bidirectional_attention": (False, None), "quantization_config": (None,)}
"""The same for a multimodal model, which ignores the first."""

_FIXED = {"use_query_key_norm": True, "use_post_ffw_norm": True, "use_post_attention_norm": True}
"""Arguments without a field, with the values that transformers' class always has."""


class Gemma3Transformers(Translation):
    """Reads and writes checkpoints of `Gemma3TextModel`; reads those with a head, and the decoder of multimodal ones.

    `initializer_range` is written only if it is set, because loaded weights are not initialised.
    """

    # Multimodal checkpoints have had their decoder under these names, in this order of age: the last since 4.52.
    prefixes = ("", "model.", "language_model.model.", "model.language_model.")

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        config = _text_config(config)
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE | _CAP)
        fields = _DEFAULTS | {name: config[name] for name in _DEFAULTS if config.get(name) is not None}
        _CONFIG.check_counts(fields, (*shared.COUNTS.values(), "intermediate_size"), layers="num_hidden_layers")
        (local_base, local_factor), (base, factor) = (_rotation(config, kind) for kind in (SLIDING, FULL))
        return {ours: fields[theirs] for ours, theirs in shared.COUNTS.items()} | {
            "intermediate_dim": fields["intermediate_size"],
            **_FIXED,
            **shared.query_arguments(fields),
            "attention_logit_soft_cap": None,
            "final_logit_soft_cap": config.get("final_logit_softcapping"),
            **_windows(config, fields),
            "local_rope_max_wavelength": local_base,
            "local_rope_scaling_factor": local_factor,
            "global_rope_max_wavelength": base,
            "global_rope_scaling_factor": factor,
            "layer_norm_epsilon": fields["rms_norm_eps"],
            "use_bidirectional_attention": fields["use_bidirectional_attention"],
            "dropout": 0.0,
            "attention_dropout": fields["attention_dropout"] or None,
            "activation": shared.activation(_CONFIG, config, "hidden_activation", activations.TRANSFORMERS),
            "attention_bias": fields["attention_bias"],
            "initializer_range": config.get("initializer_range"),
        }

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_fixed(arguments, _FIXED)
        if arguments["dropout"]:
            problem = "its Gemma 3 drops attention probabilities only; set attention_dropout"
            raise _CONFIG.limit(arguments, "dropout", problem)
        if arguments["attention_logit_soft_cap"] is not None:
            raise _CONFIG.limit(arguments, "attention_logit_soft_cap", "its Gemma 3 has a field for it and ignores it")
        config = {
            "architectures": ["Gemma3TextModel"],
            "model_type": "gemma3_text",
            **{theirs: arguments[ours] for ours, theirs in shared.COUNTS.items()},
            "intermediate_size": arguments["intermediate_dim"],
            # transformers refuses an int in a field for a float, such as a rate of 0.
            "rms_norm_eps": float(arguments["layer_norm_epsilon"]),
            "attention_bias": arguments["attention_bias"],
            "attention_dropout": float(arguments["attention_dropout"] or 0),
            "hidden_activation": shared.activation_name(arguments["activation"]),
            "query_pre_attn_scalar": shared.query_field(_CONFIG, arguments),
            "attn_logit_softcapping": None,
            "final_logit_softcapping": shared.optional_float(arguments["final_logit_soft_cap"]),
            "sliding_window": arguments["sliding_window_size"],
            "layer_types": gemma3_layer_types(arguments),
            "use_bidirectional_attention": arguments["use_bidirectional_attention"],
            "rope_parameters": {
                kind: shared.rope_parameters(
                    arguments[f"{which}_rope_max_wavelength"], arguments[f"{which}_rope_scaling_factor"]
                )
                for kind, which in ((FULL, "global"), (SLIDING, "local"))
            },
            "max_position_embeddings": 131_072,
            "tie_word_embeddings": True,
        }
        if arguments["initializer_range"] is not None:
            config["initializer_range"] = float(arguments["initializer_range"])
        return config

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return () if arguments["use_sliding_window_attention"] else ("layer_types",)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        return shared.rules(arguments, shared.NORMS)


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the config of the decoder; a multimodal config has it in a field."""
    if config["model_type"] == "gemma3_text":
        return config
    text = shared.otherwise(config.get(_TEXT), {})
    if not isinstance(text, Mapping):
        raise _CONFIG.refusal(_TEXT, text, "expected the config of the decoder")
    for fields in (config, text):
        _CONFIG.check_architecture(fields, _OTHER_MULTIMODAL)
    return text


def _windows(config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the types of layers from `layer_types`, or as older releases wrote them, and the window."""
    count, period = fields["num_hidden_layers"], fields["sliding_window_pattern"]
    if type(period) is not int or period < 1:
        raise _CONFIG.refusal("sliding_window_pattern", period, "expected an int of at least 1")
    types = shared.otherwise(config.get("layer_types"), periodic(count, period))
    types = list(shared.checked_types(_CONFIG, types, count))
    if SLIDING in types and "sliding_window" in config and config["sliding_window"] is None:
        raise _CONFIG.refusal("sliding_window", None, f"and layer_types has {SLIDING!r}")
    return {
        "use_sliding_window_attention": SLIDING in types,
        "sliding_window_size": fields["sliding_window"],
        "layer_types": types if SLIDING in types and types != five_to_one(count) else None,
    }


def _rotation(config: Mapping[str, Any], kind: str) -> tuple[float, float]:
    """Reads the rotations of a type of layers as transformers 5 writes them, in `rope_parameters`, or older ones did.

    The older `rope_scaling` is for layers without a window only.
    """
    field, default = _BASES[kind]
    base = shared.otherwise(config.get(field), default)
    by_type = shared.otherwise(config.get("rope_parameters"), {})
    if not isinstance(by_type, Mapping) or not by_type.keys() <= _BASES.keys():
        raise _CONFIG.refusal("rope_parameters", by_type, f"expected parameters for {SLIDING!r} and {FULL!r}")
    name, parameters = "rope_parameters", shared.otherwise(by_type.get(kind), {})
    if kind == FULL and config.get("rope_scaling"):
        name, scaling = "rope_scaling", config["rope_scaling"]
        both = isinstance(parameters, Mapping) and isinstance(scaling, Mapping)
        parameters = {**parameters, **scaling} if both else scaling
    return shared.rotation(_CONFIG, name, parameters, base)
