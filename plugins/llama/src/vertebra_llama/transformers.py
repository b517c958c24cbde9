"""Translation of Llama from and to the transformers format, from which those of the other decoders are derived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import ForeignConfig, TensorRule, Translation, activations
from vertebra_llama import rope_fields
from vertebra_llama.layer_types import PLAIN, differing

_COUNTS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_query_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
}
"""transformers' names of sizes that have the same meaning there."""
_FLAGS = ("attention_bias", "mlp_bias")
_OTHER_ARCHITECTURE = {
    "use_bidirectional_attention": (False, None),
    "is_causal": (True, None),
    "add_cross_attention": (False, None),
    "quantization_config": (None,),
}
"""Fields that change the architecture, with the supported values."""
_COMMON: dict[str, Any] = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "hidden_size": 4096,
    "head_dim": None,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "initializer_range": 0.02,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}

_ALL_HAVE = ("head_dim", "rope_scaling", "activation", "attention_dropout", "initializer_range")
"""Arguments of `PLAIN` that all of transformers' classes have a field for."""

_NORMS = {
    "self_attention_layernorm": "input_layernorm",
    "feedforward_layernorm": "post_attention_layernorm",
    "self_attention/query_norm": "self_attn.q_norm",
    "self_attention/key_norm": "self_attn.k_norm",
}
_ATTENTION = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.o_proj",
}
_FEEDFORWARD = {
    "feedforward_gate_dense": "mlp.gate_proj",
    "feedforward_intermediate_dense": "mlp.up_proj",
    "feedforward_output_dense": "mlp.down_proj",
}


class LlamaTransformers(Translation):
    """Reads and writes checkpoints of `LlamaModel` and `LlamaForCausalLM`, and reads those with another head.

    A model whose head has a matrix of its own is written with it, as `LlamaForCausalLM`; a checkpoint may lack it.
    """

    prefixes = ("", "model.")
    # Old checkpoints also hold the frequencies of the rotations.
    ignored = ("*rotary_emb.inv_freq",)
    optional = ("token_embedding/reverse_embeddings",)

    model_type: ClassVar[str] = "llama"
    name: ClassVar[str] = "Llama"
    """The name of the architecture in those of transformers' classes."""
    defaults: ClassVar[Mapping[str, Any]] = {"vocab_size": 32000, "intermediate_size": 11008} | {
        "max_position_embeddings": 2048,
        "attention_bias": False,
        "mlp_bias": False,
    }
    """Defaults of transformers' config for fields that a config omits, next to `_COMMON`."""
    fixed: ClassVar[Mapping[str, Any]] = {}
    """Arguments that have another value than in `PLAIN`, because transformers' class has no field for them."""
    free: ClassVar[tuple[str, ...]] = ("attention_bias", "mlp_bias")
    """Arguments of `PLAIN` that transformers' class has a field for, apart from those that all have."""

    @property
    def _names(self) -> ForeignConfig:
        return ForeignConfig("transformers", f"transformers' {self.name}")

    # === Reading ===

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        names = self._names
        names.check_architecture(config, _OTHER_ARCHITECTURE)
        defaults = _COMMON | dict(self.defaults)
        fields = defaults | {name: config[name] for name in defaults if config.get(name) is not None}
        if fields["num_key_value_heads"] is None or config.get("num_key_value_heads", 0) is None:
            fields["num_key_value_heads"] = fields["num_attention_heads"]
        names.check_counts(fields, _COUNTS.values(), layers="num_hidden_layers")
        found = {ours: fields[theirs] for ours, theirs in _COUNTS.items()}
        found |= {
            **PLAIN,
            **self.fixed,
            **{name: fields[name] for name in _FLAGS if name in self.free},
            "head_dim": self._head_dim(fields),
            "layer_norm_epsilon": fields["rms_norm_eps"],
            "initializer_range": fields["initializer_range"],
            "activation": names.activation("hidden_act", fields["hidden_act"]),
            "tie_word_embeddings": fields["tie_word_embeddings"],
        }
        found |= self._rates(fields) | self._layers(config, fields)
        found |= rope_fields.read(names, self._rope_config(config, fields), found, fields["rope_theta"])
        if "partial_rotary_factor" not in self.free:
            names.check_architecture(found, {"partial_rotary_factor": (1,)})
        return found

    def _head_dim(self, fields: Mapping[str, Any]) -> int | None:
        """Returns the width of a head, or None if it is that of all heads together, divided by their number."""
        width, all_heads = fields["head_dim"], fields["hidden_size"]
        if width is None:
            return None
        self._names.check_counts(fields, ("head_dim",))
        return None if width * fields["num_attention_heads"] == all_heads else width

    def _rates(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {"dropout": 0.0, "attention_dropout": fields["attention_dropout"] or None}

    def _layers(self, config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments that differ between layers."""
        return {}

    def _rope_config(self, config: Mapping[str, Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return config

    # === Writing ===

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        names = self._names
        wanted = {name: value for name, value in PLAIN.items() if name not in (*_ALL_HAVE, *self.free)}
        for name in differing(arguments, wanted | dict(self.fixed)):
            raise names.limit(arguments, name, f"{names.owner} always has {(wanted | dict(self.fixed))[name]!r}")
        if arguments["hidden_dim"] % arguments["num_query_heads"]:
            problem = f"it must divide hidden_dim={arguments['hidden_dim']} there"
            raise names.limit(arguments, "num_query_heads", problem)
        return {
            "architectures": [f"{self.name}{'Model' if arguments['tie_word_embeddings'] else 'ForCausalLM'}"],
            "model_type": self.model_type,
            **{theirs: arguments[ours] for ours, theirs in _COUNTS.items()},
            **self._head_fields(arguments),
            # transformers refuses an int in a field for a float, such as a rate of 0.
            "rms_norm_eps": float(arguments["layer_norm_epsilon"]),
            "attention_dropout": float(arguments["attention_dropout"] or 0),
            "hidden_act": activations.transformers_name(arguments["activation"]),
            "initializer_range": float(arguments["initializer_range"]),
            "rope_parameters": rope_fields.write(names, arguments),
            "tie_word_embeddings": arguments["tie_word_embeddings"],
            # The ids that transformers has by default may be beyond the vocabulary.
            "pad_token_id": None,
            **{name: arguments[name] for name in _FLAGS if name in self.free},
            **self._layer_fields(arguments),
        }

    def _head_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        width = arguments["head_dim"]
        return {"head_dim": arguments["hidden_dim"] // arguments["num_query_heads"] if width is None else width}

    def _layer_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the fields of the arguments that differ between layers."""
        return {}

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return () if arguments["query_key_norm"] else ("query_key_norm_epsilon",)

    # === Tensors ===

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        table, head = "token_embedding/embeddings", "lm_head.weight"
        if arguments["tie_word_embeddings"]:
            rules = {table: TensorRule("embed_tokens.weight", tied=head)}
        else:
            own = TensorRule(head, transpose=True, outside=True)
            rules = {table: TensorRule("embed_tokens.weight"), "token_embedding/reverse_embeddings": own}
        rules["sequence_output_layernorm/scale"] = TensorRule("norm.weight")
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"layers.{i}"
            for name, module in _NORMS.items():
                if arguments["query_key_norm"] or not name.startswith("self_attention/"):
                    rules[f"{ours}/{name}/scale"] = TensorRule(f"{theirs}.{module}.weight")
            rules |= self._attention_rules(f"{ours}/self_attention", theirs, arguments)
            rules |= self._feedforward_rules(ours, theirs, arguments)
        return rules

    def _attention_rules(self, ours: str, theirs: str, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        bias, output_bias = arguments["attention_bias"], arguments["attention_output_bias"]
        biases = dict.fromkeys(_ATTENTION, bias) | {"attention_output": bias if output_bias is None else output_bias}
        rules: dict[str, TensorRule] = {}
        for name, module in _ATTENTION.items():
            rules |= TensorRule.dense(f"{ours}/{name}", f"{theirs}.{module}", bias=biases[name])
        return rules

    def _feedforward_rules(self, ours: str, theirs: str, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules: dict[str, TensorRule] = {}
        for name, module in _FEEDFORWARD.items():
            rules |= TensorRule.dense(f"{ours}/{name}", f"{theirs}.{module}", bias=arguments["mlp_bias"])
        return rules
