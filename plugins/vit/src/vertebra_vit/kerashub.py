"""Translations of ViT and DINOv2 from and to KerasHub's format: names of config fields and HDF5 datasets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vertebra import ForeignConfig, TensorRule, Translation

_VIT = ForeignConfig("kerashub", "KerasHub's ViT")
_DINOV2 = ForeignConfig("kerashub", "KerasHub's DINOv2")
_COUNTS = ("num_layers", "num_heads", "hidden_dim")
_VIT_DEFAULTS = {
    "dropout_rate": 0.0,
    "attention_dropout": 0.0,
    "layer_norm_epsilon": 1e-6,
    "use_mha_bias": True,
    "use_mlp_bias": True,
    "use_class_token": True,
    "use_patch_bias": True,
}
_DINOV2_DEFAULTS = {
    "layer_scale_init_value": 1.0,
    "num_register_tokens": 0,
    "use_mask_token": True,
    "use_swiglu_ffn": False,
    "dropout_rate": 0.0,
    "drop_path_rate": 0.0,
    "antialias_in_interpolation": False,
}
"""Defaults of KerasHub's constructors for arguments that a config omits."""
_VIT_FIXED = {"activation": "gelu", "pooler": False}
_DINOV2_FIXED = {"qkv_bias": True, "activation": "gelu", "layer_norm_epsilon": 1e-6}
"""Arguments that KerasHub's classes do not have, with the values that they always use."""


class ViTKerasHub(Translation):
    """Reads and writes presets of KerasHub's `ViTBackbone`.

    `initializer_range` is not written, because loaded weights are not initialised.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        counts = (*_COUNTS, "mlp_dim")
        own = _VIT.constructor_arguments(config, counts, {"image_shape": None, "patch_size": None} | _VIT_DEFAULTS)
        return own | {
            "image_shape": _sizes(_VIT, own, "image_shape", (3,)),
            "patch_size": _one(_sizes(_VIT, own, "patch_size", (2,))),
        }

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        _VIT.check_fixed(arguments, _VIT_FIXED)
        if arguments["attention_output_bias"] not in (None, arguments["use_mha_bias"]):
            raise _VIT.limit(arguments, "attention_output_bias", f"{_VIT.owner} has one setting, use_mha_bias")
        return {name: arguments[name] for name in ("image_shape", *_COUNTS, "mlp_dim", *_VIT_DEFAULTS)} | {
            "patch_size": _two(arguments["patch_size"])
        }

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("initializer_range", "attention_output_bias")

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        tokens, encoder = "layers/vi_t_patching_and_embedding", "layers/vi_t_encoder"
        positions = _positions(arguments, arguments["use_class_token"])
        rules = {
            **_layer("patch_embedding", f"{tokens}/patch_embedding", bias=arguments["use_patch_bias"]),
            **({"embeddings/class_token": TensorRule(f"{tokens}/vars/0")} if arguments["use_class_token"] else {}),
            "embeddings/position_embedding": TensorRule(f"{tokens}/position_embedding/vars/0", shape=positions),
            **TensorRule.numbered("layer_norm", f"{encoder}/layer_norm", gamma=None, beta=None),
        }
        bias = arguments["use_mlp_bias"]
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", _numbered(f"{encoder}/encoder_layers/vi_t_encoder_block", i)
            rules |= {
                **TensorRule.heads(
                    f"{ours}/self_attention", f"{theirs}/mha", arguments, bias=arguments["use_mha_bias"]
                ),
                **TensorRule.numbered(
                    f"{ours}/self_attention_layer_norm", f"{theirs}/layer_norm_1", gamma=None, beta=None
                ),
                **TensorRule.numbered(
                    f"{ours}/feedforward_layer_norm", f"{theirs}/layer_norm_2", gamma=None, beta=None
                ),
                **_layer(f"{ours}/feedforward_intermediate_dense", f"{theirs}/mlp/dense_1", bias=bias),
                **_layer(f"{ours}/feedforward_output_dense", f"{theirs}/mlp/dense_2", bias=bias),
            }
        return rules


class DINOV2KerasHub(Translation):
    """Reads and writes presets of KerasHub's `DINOV2Backbone`.

    KerasHub's class is for images of one size, `image_shape`, and stores the positions for `position_embedding_shape`,
    ours for any size: its `image_shape` is read for the channels only, and both are written as ours. Its
    `apply_layernorm` concerns outputs that this class computes by `features`.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        shapes = {"image_shape": [224, 224, 3], "position_embedding_shape": [518, 518], "apply_layernorm": False}
        defaults = shapes | {"patch_size": None} | _DINOV2_DEFAULTS
        own = _DINOV2.constructor_arguments(config, (*_COUNTS, "intermediate_dim"), defaults)
        positions = _sizes(_DINOV2, own, "position_embedding_shape", (2, 3))
        channels = _sizes(_DINOV2, own, "image_shape", (3,))[-1]
        patch = _one(_sizes(_DINOV2, own, "patch_size", (2,)))
        kept = {name: own[name] for name in own if name not in shapes}
        return kept | {"patch_size": patch, "image_shape": [*_whole(positions[:2], patch), channels]}

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        fixed = {name: value for name, value in _DINOV2_FIXED.items() if name != "activation" or not _gated(arguments)}
        _DINOV2.check_fixed(arguments, fixed)
        if arguments["attention_dropout"] not in (None, arguments["dropout_rate"]):
            raise _DINOV2.limit(arguments, "attention_dropout", f"{_DINOV2.owner} has one rate, dropout_rate")
        if not isinstance(arguments["patch_size"], int):
            raise _DINOV2.limit(arguments, "patch_size", f"{_DINOV2.owner} has square patches")
        height, width, _ = arguments["image_shape"]
        if height != width:
            raise _DINOV2.limit(arguments, "image_shape", f"{_DINOV2.owner} has square images")
        names = ("patch_size", *_COUNTS, "intermediate_dim", *_DINOV2_DEFAULTS, "image_shape")
        return {name: arguments[name] for name in names} | {"position_embedding_shape": [height, width]}

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("initializer_range", "attention_dropout", *(("activation",) if _gated(arguments) else ()))

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        tokens, encoder = "layers/dinov2_embedding", "layers/dinov2_encoder"
        rules = {
            **_layer("patch_embedding", f"{tokens}/patch_embeddings/projection"),
            **_tokens(tokens, arguments),
            **TensorRule.numbered("layer_norm", "layers/layer_normalization", gamma=None, beta=None),
        }
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", _numbered(f"{encoder}/layers/dinov2_layer", i)
            rules |= {
                **TensorRule.heads(f"{ours}/self_attention", f"{theirs}/attention/attention", arguments),
                **TensorRule.numbered(f"{ours}/self_attention_layer_norm", f"{theirs}/norm1", gamma=None, beta=None),
                **TensorRule.numbered(f"{ours}/feedforward_layer_norm", f"{theirs}/norm2", gamma=None, beta=None),
                f"{ours}/self_attention_scale/scale": TensorRule(f"{theirs}/layer_scale1/vars/0"),
                f"{ours}/feedforward_scale/scale": TensorRule(f"{theirs}/layer_scale2/vars/0"),
                **(_swiglu if _gated(arguments) else _mlp)(ours, f"{theirs}/mlp"),
            }
        return rules

    @property
    def ignored(self) -> tuple[str, ...]:  # type: ignore[override]
        """The positions for KerasHub's `image_shape`, which it computes again when it loads a preset."""
        return ("layers/dinov2_embedding/vars/*",)


def _gated(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments["use_swiglu_ffn"])


# === Configs ===


def _sizes(owner: ForeignConfig, fields: Mapping[str, Any], name: str, lengths: Iterable[int]) -> list[int]:
    """Returns a field with several sizes, or one that means two."""
    value = fields[name]
    sizes = [value, value] if type(value) is int else value
    if not isinstance(sizes, list | tuple) or len(sizes) not in lengths:
        raise owner.refusal(name, value, f"expected a list of {' or '.join(map(str, lengths))} sizes")
    numbered = {f"{name}[{i}]": size for i, size in enumerate(sizes)}
    owner.check_counts(numbered, numbered)
    return list(sizes)


def _one(sizes: list[int]) -> int | list[int]:
    return sizes[0] if sizes[0] == sizes[1] else sizes


def _two(size: Any) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


def _whole(size: list[int], patch: Any) -> list[int]:
    """Returns a size without the pixels behind the last whole patch."""
    return [length // step * step for length, step in zip(size, _two(patch), strict=True)]


# === Datasets ===


def _tokens(theirs: str, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
    """Returns the rules of the tokens, which KerasHub numbers: those that train first, then the stored positions."""
    names = ["class_token"]
    names += ["mask_token"] if arguments["use_mask_token"] else []
    names += ["register_tokens"] if arguments["num_register_tokens"] else []
    rules = {f"embeddings/{name}": TensorRule(f"{theirs}/vars/{i}") for i, name in enumerate(names)}
    return rules | {"embeddings/position_embedding": TensorRule(f"{theirs}/vars/{len(names) + 1}")}


def _positions(arguments: Mapping[str, Any], class_token: bool) -> tuple[int, int]:
    (height, width, _), patch = arguments["image_shape"], _two(arguments["patch_size"])
    return (height // patch[0]) * (width // patch[1]) + int(class_token), arguments["hidden_dim"]


def _mlp(ours: str, theirs: str) -> dict[str, TensorRule]:
    return _layer(f"{ours}/feedforward_intermediate_dense", f"{theirs}/fc1") | _layer(
        f"{ours}/feedforward_output_dense", f"{theirs}/fc2"
    )


def _swiglu(ours: str, theirs: str) -> dict[str, TensorRule]:
    rules = _layer(f"{ours}/feedforward_output_dense", f"{theirs}/weights_out")
    for number, name in enumerate(("feedforward_gate_dense", "feedforward_intermediate_dense")):
        for index, weight in enumerate(("kernel", "bias")):
            rule = TensorRule(f"{theirs}/weights_in/vars/{index}", part=(number, 2))
            rules[f"{ours}/{name}/{weight}"] = rule
    return rules


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _layer(
    ours: str, theirs: str, kernel: Any = None, own_bias: Any = None, bias: bool = True
) -> dict[str, TensorRule]:
    rules = {f"{ours}/kernel": TensorRule(f"{theirs}/vars/0", shape=kernel)}
    return rules | ({f"{ours}/bias": TensorRule(f"{theirs}/vars/1", shape=own_bias)} if bias else {})
