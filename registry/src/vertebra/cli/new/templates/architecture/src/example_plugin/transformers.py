"""The translation from and to transformers' checkpoints: fields of the config, and names of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation

from example_plugin import MODEL_TYPE

CONFIG = ForeignConfig("transformers", "transformers' Example Plugin")
SIZES = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
}
"""Fields of the config for the arguments of the backbone."""
FIXED = {"hidden_act": ("silu",), "attention_bias": (False,), "mlp_bias": (False,), "rope_scaling": (None,)}
"""Fields whose other values the backbone does not compute, with the values that it does. Add yours: a checkpoint with
another value is then refused with the name of the field."""
TENSORS = {
    "attention_norm/scale": "input_layernorm",
    "attention/query/kernel": "self_attn.q_proj",
    "attention/key/kernel": "self_attn.k_proj",
    "attention/value/kernel": "self_attn.v_proj",
    "attention/output/kernel": "self_attn.o_proj",
    "mlp_norm/scale": "post_attention_layernorm",
    "gate/kernel": "mlp.gate_proj",
    "up/kernel": "mlp.up_proj",
    "down/kernel": "mlp.down_proj",
}
"""The module of the checkpoint for each weight of a block."""


class Checkpoints(Translation):
    """Reads and writes checkpoints, and reads those of models with a head, whose tensors have a prefix."""

    prefixes = ("", "model.")
    ignored = ("*rotary_emb.inv_freq",)

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments of the backbone for a config, which may come from anywhere."""
        CONFIG.check_counts(config, SIZES.values(), layers="num_hidden_layers")
        CONFIG.check_architecture(config, FIXED)
        CONFIG.check_architecture(config, {"head_dim": (None, config["hidden_size"] // config["num_attention_heads"])})
        sizes = {ours: config[theirs] for ours, theirs in SIZES.items()}
        return sizes | {"epsilon": config["rms_norm_eps"], "rotary_base": _rotary_base(config)}

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config for the arguments of a backbone."""
        return {
            "model_type": MODEL_TYPE,
            "architectures": ["ExamplePluginModel"],  # transformers' own class
            **{name: value for name, (value, *_) in FIXED.items()},
            **{theirs: arguments[ours] for ours, theirs in SIZES.items()},
            "rms_norm_eps": float(arguments["epsilon"]),
            "rope_parameters": {"rope_type": "default", "rope_theta": float(arguments["rotary_base"])},
            "tie_word_embeddings": True,
        }

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        """Returns the tensor of each weight; `transpose` because torch stores kernels as outputs by inputs."""
        rules = {
            "token_embedding/embeddings": TensorRule("embed_tokens.weight", tied="lm_head.weight"),
            "norm/scale": TensorRule("norm.weight"),
        }
        for number in range(arguments["num_layers"]):
            for weight, module in TENSORS.items():
                tensor, is_kernel = f"layers.{number}.{module}.weight", weight.endswith("kernel")
                rules[f"block_{number}/{weight}"] = TensorRule(tensor, transpose=is_kernel)
        return rules


def _rotary_base(config: Mapping[str, Any]) -> Any:
    """Reads `rope_parameters`, as transformers 5 writes it, or the field of older releases."""
    rotary = config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 10_000.0)}
    if not isinstance(rotary, Mapping) or rotary.get("rope_type", "default") != "default":
        raise CONFIG.refusal("rope_parameters", rotary, "expected rope_type 'default'")
    return rotary["rope_theta"]
