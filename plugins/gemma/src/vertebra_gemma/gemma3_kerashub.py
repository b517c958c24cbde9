"""Translation of Gemma 3 from and to KerasHub's format: names of config fields and HDF5 datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation
from vertebra_gemma import kerashub
from vertebra_gemma.arguments import reach

_CONFIG = ForeignConfig("kerashub", "KerasHub's Gemma 3")
_DEFAULTS = {
    "query_head_dim_normalize": True,
    "use_query_key_norm": True,
    "use_post_ffw_norm": False,
    "use_post_attention_norm": False,
    "attention_logit_soft_cap": None,
    "final_logit_soft_cap": None,
    "use_sliding_window_attention": False,
    "sliding_window_size": 1024,
    "local_rope_scaling_factor": 1.0,
    "global_rope_scaling_factor": 1.0,
    "layer_norm_epsilon": kerashub.EPSILON,
    "use_bidirectional_attention": False,
    "dropout": 0,
}
"""Defaults of KerasHub's constructor for arguments that a config omits."""
_FIELDS = (*kerashub.COUNTS, *_DEFAULTS)

_OTHER_ARCHITECTURE = {"vision_encoder": (None,), "is_embedding_model": (False, None)}
"""Fields for images, and for dense layers after pooling, which are those of a `TextEmbedder` here."""
_WITHOUT_EFFECT = ("image_size", "pooling_intermediate_dim", "embedding_dim")
"""Fields that say nothing of a model without these."""

_FIXED = {
    "local_rope_max_wavelength": 10_000,
    "global_rope_max_wavelength": 1_000_000,
    "activation": "gelu_approximate",
    "attention_bias": False,
    "layer_types": None,
    "layer_norm_epsilon": kerashub.EPSILON,
}
"""Arguments that KerasHub's class does not have, with the values that it always uses."""


class Gemma3KerasHub(Translation):
    """Reads and writes presets of KerasHub's `Gemma3Backbone` without images.

    `initializer_range` is not written, because loaded weights are not initialised.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_architecture(config, _OTHER_ARCHITECTURE)
        own = {name: value for name, value in config.items() if name not in (*_OTHER_ARCHITECTURE, *_WITHOUT_EFFECT)}
        return _CONFIG.constructor_arguments(own, kerashub.COUNTS, _DEFAULTS)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        _CONFIG.check_fixed(arguments, _FIXED)
        _CONFIG.check_one_rate(arguments, ("attention_dropout",))
        kerashub.check_divisor(_CONFIG, arguments)
        fields = {name: arguments[name] for name in _FIELDS} | {"query_head_dim_normalize": True}
        fields |= {"image_size": None, "vision_encoder": None}  # which KerasHub requires
        if _slides_both_ways(arguments):
            fields["sliding_window_size"] = 2 * reach(arguments["sliding_window_size"]) + 1
        return fields

    def difference(self, arguments: Mapping[str, Any]) -> str | None:
        size = arguments["sliding_window_size"]
        if _slides_both_ways(arguments) and type(size) is int and size % 2 == 0:
            there = f"{_CONFIG.owner} attends to {size // 2 - 1} tokens before a token, not {reach(size)}"
            return f"sliding_window_size={size}, and {there}"
        return kerashub.difference(_CONFIG, arguments)

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        # An even window is written as the next odd one, which is the same.
        window = ("sliding_window_size",) if _slides_both_ways(arguments) else ()
        return ("initializer_range", *window)

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        return kerashub.rules(arguments, "gemma3_decoder_block")

    def numbered_layers(self, arguments: Mapping[str, Any]) -> dict[int, str]:
        return kerashub.numbers(arguments)


def _slides_both_ways(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments["use_sliding_window_attention"] and arguments["use_bidirectional_attention"])
