"""Translations of Mistral, Phi-3, Qwen2, Qwen3 and SmolLM3 from and to the transformers format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import TensorRule
from vertebra_llama.layer_types import FULL, SLIDING, differing, windows
from vertebra_llama.rope_scaling import LENGTH
from vertebra_llama.transformers import LlamaTransformers


class MistralTransformers(LlamaTransformers):
    """Reads and writes checkpoints of `MistralModel` and `MistralForCausalLM`, and reads those with another head."""

    model_type, name = "mistral", "Mistral"
    defaults: ClassVar[Mapping[str, Any]] = {"vocab_size": 32000, "intermediate_size": 14336} | {
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
    }
    window: ClassVar[int | None] = 4096
    """The window of a config without the field."""
    free = ("sliding_window", "layer_types")

    def _layers(self, config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        window = config.get("sliding_window", self.window)
        if window is not None:
            self._names.check_counts({"sliding_window": window}, ("sliding_window",))
        return {"sliding_window": window}

    def _layer_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        found = set(windows(arguments))
        if len(found) > 1:
            raise self._names.limit(arguments, "layer_types", "its layers are all of one type there")
        return {"sliding_window": found.pop()}


class Phi3Transformers(MistralTransformers):
    """Reads and writes checkpoints of `Phi3Model` and `Phi3ForCausalLM`, and reads those with another head.

    transformers names LongRoPE `longrope`, `su` or `yarn` in these configs, and scales positions in no other way.
    """

    model_type, name = "phi3", "Phi3"
    defaults: ClassVar[Mapping[str, Any]] = {"vocab_size": 32064, "intermediate_size": 8192} | {
        "hidden_size": 3072,
        "max_position_embeddings": 4096,
        LENGTH: 4096,
        "rms_norm_eps": 1e-5,
        "resid_pdrop": 0.0,
    }
    window = None
    free = ("sliding_window", "layer_types", "dropout", "partial_rotary_factor")

    def _rates(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        rate, attention = fields["resid_pdrop"], fields["attention_dropout"]
        # None follows `dropout`, also if from_preset(dropout=...) overrides it.
        return {"dropout": rate, "attention_dropout": None if attention == rate else attention}

    def _rope_config(self, config: Mapping[str, Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
        field = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
        rope = config.get(field) or {}
        kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, Mapping) else None
        if kind not in ("default", "longrope", "su", "yarn"):
            raise self._names.refusal(field, rope, "expected the rope_type 'default' or 'longrope'")
        kind = "longrope" if kind == "yarn" else kind
        return {**config, LENGTH: fields[LENGTH], field: {**rope, "rope_type": kind}}

    def _head_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        for name in differing(arguments, {"head_dim": None}):
            raise self._names.limit(arguments, name, "all heads together are as wide as hidden_dim there")
        return {}

    def _layer_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        scaling, rate = arguments["rope_scaling"], arguments["attention_dropout"]
        if scaling is not None and scaling["rope_type"] != "longrope":
            raise self._names.limit(arguments, "rope_scaling", "its rope_type must be 'longrope' there")
        return super()._layer_fields(arguments) | {
            "resid_pdrop": float(arguments["dropout"]),
            "attention_dropout": float(arguments["dropout"] if rate is None else rate),
            **({} if scaling is None else {LENGTH: scaling[LENGTH]}),
        }

    def _attention_rules(self, ours: str, theirs: str, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        queries, heads = arguments["num_query_heads"], arguments["num_key_value_heads"]
        whole = queries + 2 * heads
        parts = {"query": (0, whole, queries), "key": (queries, whole, heads), "value": (whole - heads, whole, heads)}
        rules = TensorRule.dense(f"{ours}/attention_output", f"{theirs}.self_attn.o_proj", bias=False)
        for name, part in parts.items():
            rules |= TensorRule.dense(f"{ours}/{name}", f"{theirs}.self_attn.qkv_proj", bias=False, part=part)
        return rules

    def _feedforward_rules(self, ours: str, theirs: str, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = TensorRule.dense(f"{ours}/feedforward_output_dense", f"{theirs}.mlp.down_proj", bias=False)
        for number, name in enumerate(("gate", "intermediate")):
            module = f"{theirs}.mlp.gate_up_proj"
            rules |= TensorRule.dense(f"{ours}/feedforward_{name}_dense", module, bias=False, part=(number, 2))
        return rules


class Qwen2Transformers(LlamaTransformers):
    """Reads and writes checkpoints of `Qwen2Model` and `Qwen2ForCausalLM`, and reads those with another head."""

    model_type, name = "qwen2", "Qwen2"
    defaults: ClassVar[Mapping[str, Any]] = {"vocab_size": 151936, "intermediate_size": 22016} | {
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
        "max_window_layers": 28,
    }
    fixed: ClassVar[Mapping[str, Any]] = {"attention_bias": True, "attention_output_bias": False}
    free = ("sliding_window", "layer_types")

    def _layers(self, config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        types, count = config.get("layer_types"), fields["num_hidden_layers"]
        window = fields["sliding_window"] if config.get("use_sliding_window") else None
        if window is not None:
            self._names.check_counts(fields, ("sliding_window",))
        if types is None:
            types = self._types(fields, count) if window is not None else [FULL] * count
        if not isinstance(types, list) or len(types) != count or not all(kind in (SLIDING, FULL) for kind in types):
            expected = f"expected {SLIDING!r} or {FULL!r} for each of {count} layers"
            raise self._names.refusal("layer_types", types, expected)
        if SLIDING not in types:
            return {"sliding_window": None, "layer_types": None}
        if window is None:
            raise self._names.refusal("layer_types", types, "but use_sliding_window and sliding_window state no window")
        return {"sliding_window": window, "layer_types": types if FULL in types else None}

    def _types(self, fields: Mapping[str, Any], count: int) -> list[str]:
        """Returns the types of layers of a config with a window that does not list them."""
        first = fields["max_window_layers"]
        if type(first) is not int:
            raise self._names.refusal("max_window_layers", first, "expected an int")
        return [SLIDING if i >= first else FULL for i in range(count)]

    def _layer_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        types = [FULL if window is None else SLIDING for window in windows(arguments)]
        slides = SLIDING in types
        return {
            "layer_types": types,
            "use_sliding_window": slides,
            "sliding_window": arguments["sliding_window"] if slides else None,
            "max_window_layers": types.index(SLIDING) if slides else len(types),
        }


class Qwen3Transformers(Qwen2Transformers):
    """Reads and writes checkpoints of `Qwen3Model` and `Qwen3ForCausalLM`, and reads those with another head."""

    model_type, name = "qwen3", "Qwen3"
    defaults: ClassVar[Mapping[str, Any]] = dict(Qwen2Transformers.defaults) | {
        "head_dim": 128,
        "attention_bias": False,
    }
    fixed: ClassVar[Mapping[str, Any]] = {"query_key_norm": True}
    free = ("sliding_window", "layer_types", "attention_bias")


class SmolLM3Transformers(Qwen2Transformers):
    """Reads and writes checkpoints of `SmolLM3Model` and `SmolLM3ForCausalLM`, and reads those with another head."""

    model_type, name = "smollm3", "SmolLM3"
    defaults: ClassVar[Mapping[str, Any]] = {"vocab_size": 128256, "intermediate_size": 11008} | {
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "hidden_size": 2048,
        "max_position_embeddings": 32768,
        "rope_theta": 2_000_000.0,
        "sliding_window": None,
        "no_rope_layers": None,
        "no_rope_layer_interval": 4,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
    }
    fixed: ClassVar[Mapping[str, Any]] = {}
    free = ("sliding_window", "layer_types", "attention_bias", "mlp_bias", "rope_layer_enabled_list")

    def _layers(self, config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        rotates = self._rotates(fields, fields["num_hidden_layers"])
        found = super()._layers(config, {**fields, "no_rope_layers": rotates})
        return found | {"rope_layer_enabled_list": None if all(rotates) else [bool(flag) for flag in rotates]}

    def _rotates(self, fields: Mapping[str, Any], count: int) -> list[Any]:
        """Returns `no_rope_layers`, whose 1 means, unlike its name, that a layer rotates."""
        listed, interval = fields["no_rope_layers"], fields["no_rope_layer_interval"]
        if listed is None:
            self._names.check_counts(fields, ("no_rope_layer_interval",))
            return [int((i + 1) % interval != 0) for i in range(count)]
        if not isinstance(listed, list) or len(listed) != count or not all(flag in (0, 1) for flag in listed):
            raise self._names.refusal("no_rope_layers", listed, f"expected 0 or 1 for each of {count} layers")
        return listed

    def _types(self, fields: Mapping[str, Any], count: int) -> list[str]:
        return [FULL if flag else SLIDING for flag in fields["no_rope_layers"]]

    def _layer_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        found = super()._layer_fields(arguments)
        del found["max_window_layers"]
        rotates = arguments["rope_layer_enabled_list"] or [True] * arguments["num_layers"]
        return found | {"no_rope_layers": [int(flag) for flag in rotates]}
