"""Translation of SmolLM3 from and to KerasHub's format, where its arguments and layers have names of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from vertebra_llama import rope_scaling
from vertebra_llama.kerashub import LlamaKerasHub
from vertebra_llama.layer_types import FULL, PLAIN, differing, rotary_width

if TYPE_CHECKING:
    import numpy as np

_NAMES = {
    "num_query_heads": "num_attention_heads",
    "max_sequence_length": "max_position_embeddings",
    "rope_max_wavelength": "rope_theta",
}
"""KerasHub's names of arguments that have other names here."""
_SAME = ("vocabulary_size", "num_layers", "num_key_value_heads", "hidden_dim", "intermediate_dim", "layer_norm_epsilon")
_SAME += ("attention_bias", "mlp_bias")


class SmolLM3KerasHub(LlamaKerasHub):
    """Reads and writes presets of KerasHub's `SmolLM3Backbone`.

    KerasHub 0.32 ignores `layer_types` and `attention_dropout`, and so do presets that are read here. Its last
    projection of attention has no bias.
    """

    ignored = ("*/rotary_embedding/vars/0",)
    name, block, last_norm = "SmolLM3", "smol_lm3_decoder_layer", "rms_normalization"
    sizes = (
        *("vocabulary_size", "num_layers", "num_attention_heads", "num_key_value_heads"),
        *("hidden_dim", "intermediate_dim", "max_position_embeddings"),
    )
    defaults: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        (
            *("attention_bias", "attention_dropout", "rope_layer_enabled_list", "layer_types", "mlp_bias"),
            *("layer_norm_epsilon", "rope_theta", "partial_rotary_factor"),
        )
    )
    fixed: ClassVar[Mapping[str, Any]] = {"attention_output_bias": False}
    free = ("initializer_range", "attention_bias", "mlp_bias", "rope_layer_enabled_list", "attention_dropout")
    names: ClassVar[Mapping[str, str]] = {
        "self_attention_layernorm": "input_layernorm",
        "feedforward_layernorm": "post_attention_layernorm",
        **{name: f"self_attn/{name[0]}_proj" for name in ("query", "key", "value")},
        "attention_output": "self_attn/o_proj",
        "feedforward_gate_dense": "mlp/gate_proj",
        "feedforward_intermediate_dense": "mlp/up_proj",
        "feedforward_output_dense": "mlp/down_proj",
    }
    numbers = (
        13,
        {"feedforward_output_dense": 5, "feedforward_intermediate_dense": 6, "feedforward_gate_dense": 7}
        | {"attention_output": 10, "value": 11, "key": 12, "query": 13},
    )

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields = self._names.constructor_arguments(config, self.sizes, self.defaults)
        if fields["partial_rotary_factor"] != 1:
            raise self._names.refusal("partial_rotary_factor", fields["partial_rotary_factor"], "expected 1")
        rotates, count = fields["rope_layer_enabled_list"], fields["num_layers"]
        if not isinstance(rotates, list) or not all(flag in (0, 1) for flag in rotates):
            raise self._names.refusal("rope_layer_enabled_list", rotates, "expected True or False for each layer")
        # KerasHub rotates in layers that the list does not reach.
        listed = [bool(flag) for flag in rotates[:count]] + [True] * (count - len(rotates))
        return {
            **PLAIN,
            **self.fixed,
            **{name: fields[name] for name in _SAME},
            **{ours: fields[theirs] for ours, theirs in _NAMES.items()},
            "rope_layer_enabled_list": None if all(listed) else listed,
            "tie_word_embeddings": True,
        }

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        names = self._names
        wanted = {name: value for name, value in PLAIN.items() if name not in self.free}
        wanted |= {**self.fixed, "tie_word_embeddings": True}
        for name in differing(arguments, wanted):
            raise names.limit(arguments, name, f"{names.owner} always has {wanted[name]!r}")
        if arguments["attention_dropout"]:
            raise names.limit(arguments, "attention_dropout", f"{names.owner} has no dropout")
        count = arguments["num_layers"]
        return {
            **{name: arguments[name] for name in _SAME},
            **{theirs: arguments[ours] for ours, theirs in _NAMES.items()},
            "rope_layer_enabled_list": arguments["rope_layer_enabled_list"] or [True] * count,
            "layer_types": [FULL] * count,
            "attention_dropout": 0.0,
            "partial_rotary_factor": 1.0,
        }

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(name for name in super().ineffective_arguments(arguments) if name != "max_sequence_length")

    def constants(self, arguments: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Returns the frequencies, which are variables of each layer in KerasHub."""
        found = rope_scaling.frequencies(rotary_width(arguments), arguments["rope_max_wavelength"], None).usual
        blocks = (f"layers/{self.block}{f'_{i}' if i else ''}" for i in range(arguments["num_layers"]))
        return {f"{block}/self_attn/rotary_embedding/vars/0": found for block in blocks}

    def _shapes(self, name: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...] | None]]:
        for weight, shape in super()._shapes(name, arguments):
            yield weight, shape if name == "attention_output" else None
