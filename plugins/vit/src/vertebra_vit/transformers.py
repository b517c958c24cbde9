"""Translations of ViT and DINOv2 from and to the transformers format: names of config fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation, activations

_VIT = ForeignConfig("transformers", "transformers' ViT")
_DINOV2 = ForeignConfig("transformers", "transformers' DINOv2")
_FIELDS = {
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "dropout_rate": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "layer_norm_epsilon": "layer_norm_eps",
    "initializer_range": "initializer_range",
}
"""transformers' names of arguments that have the same meaning there."""
_DEFAULTS: dict[str, Any] = {
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_size": 768,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "image_size": 224,
    "num_channels": 3,
    "qkv_bias": True,
}
_VIT_DEFAULTS = _DEFAULTS | {"intermediate_size": 3072, "patch_size": 16, "layer_norm_eps": 1e-12}
_DINOV2_DEFAULTS = _DEFAULTS | {
    "mlp_ratio": 4,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
    "layerscale_value": 1.0,
    "drop_path_rate": 0.0,
    "use_swiglu_ffn": False,
    "use_mask_token": True,
}
_WITH_REGISTERS_DEFAULTS = {"patch_size": 16, "num_register_tokens": 4}
"""Defaults of transformers' configs for fields that a config omits."""
_OTHER_ARCHITECTURE = {"is_decoder": (False, None), "pruned_heads": ({}, None), "quantization_config": (None,)}
"""Fields that change the architecture, with the supported values."""
_COUNTS = ("num_hidden_layers", "num_attention_heads", "hidden_size", "num_channels")
_POOLER = "add_pooling_layer"
"""The argument of transformers' `ViTModel` without which it has a pooler."""
_REGISTERS = "dinov2_with_registers"


class ViTTransformers(Translation):
    """Reads and writes checkpoints of `ViTModel`, and reads those of models with a head on top of it.

    Models with a head have no pooler, and that for masked images has a token for the mask, which is not read.
    """

    prefixes = ("", "vit.")
    ignored = ("embeddings.mask_token",)
    optional = ("pooled_dense/*",)

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields = _fields(_VIT, config, _VIT_DEFAULTS)
        _VIT.check_counts(fields, ("intermediate_size",))
        pooler = _has_pooler(config)
        if pooler:
            harmless = {"pooler_act": ("tanh", None), "pooler_output_size": (fields["hidden_size"], None)}
            _VIT.check_architecture(config, harmless)
        return _arguments(_VIT, fields) | {
            "mlp_dim": fields["intermediate_size"],
            "use_mha_bias": fields["qkv_bias"],
            "attention_output_bias": None if fields["qkv_bias"] else True,
            "pooler": pooler,
        }

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        fixed = dict.fromkeys(("use_mlp_bias", "use_class_token", "use_patch_bias"), True)
        _VIT.check_fixed(arguments, fixed)
        output = arguments["attention_output_bias"]
        if not (arguments["use_mha_bias"] if output is None else output):
            raise _VIT.limit(arguments, "attention_output_bias", f"{_VIT.owner} always has one")
        return {
            "architectures": ["ViTModel"],
            "model_type": "vit",
            **_config(arguments, _VIT_DEFAULTS),
            "intermediate_size": arguments["mlp_dim"],
            "qkv_bias": arguments["use_mha_bias"],
            **({} if arguments["pooler"] else {_POOLER: False}),
        }

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("attention_output_bias",) if arguments["use_mha_bias"] else ()

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = _outer_rules(arguments, arguments.get("use_class_token", True))
        if arguments.get("pooler"):
            rules |= TensorRule.dense("pooled_dense", "pooler.dense")
        for i in range(arguments["num_layers"]):
            ours, theirs, module = f"transformer_layer_{i}", f"encoder.layer.{i}", f"layers.{i}"
            rules |= {
                **_attention(ours, theirs, module, arguments.get("use_mha_bias", True)),
                **TensorRule.norm(
                    f"{ours}/self_attention_layer_norm", f"{theirs}.layernorm_before", f"{module}.layernorm_before"
                ),
                **TensorRule.norm(
                    f"{ours}/feedforward_layer_norm", f"{theirs}.layernorm_after", f"{module}.layernorm_after"
                ),
                **TensorRule.dense(
                    f"{ours}/feedforward_intermediate_dense", f"{theirs}.intermediate.dense", f"{module}.mlp.fc1"
                ),
                **TensorRule.dense(f"{ours}/feedforward_output_dense", f"{theirs}.output.dense", f"{module}.mlp.fc2"),
            }
        return rules


class DINOV2Transformers(Translation):
    """Reads and writes checkpoints of `Dinov2Model` and `Dinov2WithRegistersModel`, and reads those with a head.

    The one interpolates positions without antialiasing, the other with it.
    """

    prefixes = ("", "dinov2.", f"{_REGISTERS}.")
    optional = ("embeddings/mask_token",)

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        registers = config["model_type"] == _REGISTERS
        defaults = _DINOV2_DEFAULTS | (_WITH_REGISTERS_DEFAULTS if registers else {"num_register_tokens": 0})
        own = config if registers else {name: config[name] for name in config if name != "num_register_tokens"}
        fields = _fields(_DINOV2, own, defaults)
        if registers:
            _DINOV2.check_counts(fields, ("num_register_tokens",))
        same_rates = fields["attention_probs_dropout_prob"] == fields["hidden_dropout_prob"]
        arguments = _arguments(_DINOV2, fields) | {
            "attention_dropout": None if same_rates else fields["attention_probs_dropout_prob"],
            "intermediate_dim": _intermediate_dim(fields),
            "layer_scale_init_value": fields["layerscale_value"],
            "num_register_tokens": fields["num_register_tokens"],
            "use_mask_token": registers or fields["use_mask_token"],
            "use_swiglu_ffn": fields["use_swiglu_ffn"],
            "drop_path_rate": fields["drop_path_rate"],
            "antialias_in_interpolation": registers,
            "qkv_bias": fields["qkv_bias"],
        }
        height, width, _ = arguments["image_shape"]
        if height != width:
            raise _DINOV2.refusal("image_size", fields["image_size"], "expected a square, for its interpolation")
        return arguments

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        registers = arguments["num_register_tokens"] > 0
        _DINOV2.check_fixed(arguments, {"antialias_in_interpolation": registers})
        if registers:
            _DINOV2.check_fixed(arguments, {"use_mask_token": True})
        if arguments["image_shape"][0] != arguments["image_shape"][1]:
            raise _DINOV2.limit(arguments, "image_shape", f"{_DINOV2.owner} interpolates positions of a square only")
        if arguments["intermediate_dim"] % arguments["hidden_dim"]:
            raise _DINOV2.limit(arguments, "intermediate_dim", f"{_DINOV2.owner} has a multiple of hidden_dim")
        attention = arguments["attention_dropout"]
        rate = arguments["dropout_rate"] if attention is None else attention
        return {
            "architectures": ["Dinov2WithRegistersModel" if registers else "Dinov2Model"],
            "model_type": _REGISTERS if registers else "dinov2",
            **_config(arguments | {"attention_dropout": rate}, _DINOV2_DEFAULTS),
            "mlp_ratio": arguments["intermediate_dim"] // arguments["hidden_dim"],
            "layerscale_value": float(arguments["layer_scale_init_value"]),
            "drop_path_rate": float(arguments["drop_path_rate"]),
            "use_swiglu_ffn": arguments["use_swiglu_ffn"],
            "qkv_bias": arguments["qkv_bias"],
            **(
                {"num_register_tokens": arguments["num_register_tokens"]}
                if registers
                else {"use_mask_token": arguments["use_mask_token"]}
            ),
        }

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("activation",) if arguments["use_swiglu_ffn"] else ()

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = _outer_rules(arguments, True)
        if arguments["use_mask_token"]:
            rules["embeddings/mask_token"] = TensorRule("embeddings.mask_token")
        if arguments["num_register_tokens"]:
            rules["embeddings/register_tokens"] = TensorRule("embeddings.register_tokens")
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"encoder.layer.{i}"
            rules |= {
                **_attention(ours, theirs, theirs, arguments.get("qkv_bias", True)),
                **TensorRule.norm(f"{ours}/self_attention_layer_norm", f"{theirs}.norm1"),
                **TensorRule.norm(f"{ours}/feedforward_layer_norm", f"{theirs}.norm2"),
                f"{ours}/self_attention_scale/scale": TensorRule(f"{theirs}.layer_scale1.lambda1"),
                f"{ours}/feedforward_scale/scale": TensorRule(f"{theirs}.layer_scale2.lambda1"),
                **(_swiglu if arguments["use_swiglu_ffn"] else _mlp)(ours, f"{theirs}.mlp"),
            }
        return rules


# === Configs ===


def _fields(owner: ForeignConfig, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a config with their defaults, after the checks that both architectures need."""
    owner.check_architecture(config, _OTHER_ARCHITECTURE)
    fields = {**defaults, **{name: config[name] for name in defaults if config.get(name) is not None}}
    owner.check_counts(fields, _COUNTS, layers="num_hidden_layers")
    return fields


def _arguments(owner: ForeignConfig, fields: Mapping[str, Any]) -> dict[str, Any]:
    height, width = _size(owner, fields, "image_size")
    patch = _size(owner, fields, "patch_size")
    if height % patch[0] or width % patch[1]:  # transformers leaves out the pixels behind the last patch
        height, width = height // patch[0] * patch[0], width // patch[1] * patch[1]
    return {ours: fields[theirs] for ours, theirs in _FIELDS.items()} | {
        "image_shape": [height, width, fields["num_channels"]],
        "patch_size": patch[0] if patch[0] == patch[1] else list(patch),
        "activation": owner.activation("hidden_act", fields["hidden_act"]),
    }


def _config(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    fields = {theirs: arguments[ours] for ours, theirs in _FIELDS.items()}
    # Where transformers expects a float, it refuses an int.
    typed = {name: float(value) if type(defaults[name]) is float else value for name, value in fields.items()}
    height, width, channels = arguments["image_shape"]
    return {
        **typed,
        "hidden_act": activations.transformers_name(arguments["activation"]),
        "image_size": height if height == width else [height, width],
        "patch_size": arguments["patch_size"],
        "num_channels": channels,
    }


def _size(owner: ForeignConfig, fields: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Returns height and width, which a config has as one int or two."""
    value = fields[name]
    height, width = value if isinstance(value, list | tuple) and len(value) == 2 else (value, value)
    owner.check_counts({f"{name} (height)": height, f"{name} (width)": width}, (f"{name} (height)", f"{name} (width)"))
    return height, width


def _intermediate_dim(fields: Mapping[str, Any]) -> int:
    """Returns the width of the feed-forward layers; older configs have a ratio with a fraction."""
    ratio, width = fields["mlp_ratio"], fields["hidden_size"]
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 1 <= ratio * width <= 2**24:
        raise _DINOV2.refusal("mlp_ratio", ratio, "expected a positive number")
    return int(width * ratio)


def _has_pooler(config: Mapping[str, Any]) -> bool:
    """Returns whether a ViT has a pooler; models with a head have none."""
    if isinstance(config.get(_POOLER), bool):
        return bool(config[_POOLER])
    names = config.get("architectures")
    return not (isinstance(names, list) and names and str(names[0]).startswith("ViTFor"))


# === Tensors ===


def _outer_rules(arguments: Mapping[str, Any], class_token: bool) -> dict[str, TensorRule]:
    patch, channels = arguments["patch_size"], arguments["image_shape"][-1]
    size = (patch, patch) if isinstance(patch, int) else tuple(patch)
    theirs = "embeddings.patch_embeddings.projection"
    shape = (arguments["hidden_dim"], channels, *size)
    return {
        "patch_embedding/kernel": TensorRule(f"{theirs}.weight", shape=shape, axes=(2, 3, 1, 0)),
        "patch_embedding/bias": TensorRule(f"{theirs}.bias"),
        **({"embeddings/class_token": TensorRule("embeddings.cls_token")} if class_token else {}),
        "embeddings/position_embedding": TensorRule("embeddings.position_embeddings"),
        **TensorRule.norm("layer_norm", "layernorm"),
    }


def _attention(ours: str, theirs: str, module: str, bias: bool) -> dict[str, TensorRule]:
    rules = TensorRule.dense(
        f"{ours}/self_attention/attention_output", f"{theirs}.attention.output.dense", f"{module}.attention.o_proj"
    )
    for name in ("query", "key", "value"):
        own = f"{module}.attention.{name[0]}_proj"
        rules |= TensorRule.dense(
            f"{ours}/self_attention/{name}", f"{theirs}.attention.attention.{name}", own, bias=bias
        )
    return rules


def _mlp(ours: str, theirs: str) -> dict[str, TensorRule]:
    return TensorRule.dense(f"{ours}/feedforward_intermediate_dense", f"{theirs}.fc1") | TensorRule.dense(
        f"{ours}/feedforward_output_dense", f"{theirs}.fc2"
    )


def _swiglu(ours: str, theirs: str) -> dict[str, TensorRule]:
    """Returns the rules of SwiGLU: checkpoints have gate and layer in one tensor, transformers has two modules."""
    rules = TensorRule.dense(f"{ours}/feedforward_output_dense", f"{theirs}.weights_out", f"{theirs}.down_proj")
    parts = {"feedforward_gate_dense": "gate_proj", "feedforward_intermediate_dense": "up_proj"}
    for number, (name, own) in enumerate(parts.items()):
        for weight, tensor in {"kernel": "weight", "bias": "bias"}.items():
            rules[f"{ours}/{name}/{weight}"] = TensorRule(
                f"{theirs}.weights_in.{tensor}", weight == "kernel", part=(number, 2), module=f"{theirs}.{own}"
            )
    return rules
