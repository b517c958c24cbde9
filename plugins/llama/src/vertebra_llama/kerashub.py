"""Translations of the decoders from and to KerasHub's format: names of config fields and HDF5 datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from vertebra import ForeignConfig, TensorRule, Translation
from vertebra_llama.layer_types import PLAIN, differing, head_dim
from vertebra_llama.rope_scaling import LENGTH

_COUNTS = (
    *("vocabulary_size", "num_layers", "num_query_heads", "num_key_value_heads"),
    *("hidden_dim", "intermediate_dim"),
)
_PROJECTIONS = ("query", "key", "value", "attention_output")
_FEEDFORWARD = ("feedforward_gate_dense", "feedforward_intermediate_dense", "feedforward_output_dense")


class LlamaKerasHub(Translation):
    """Reads and writes presets of KerasHub's `LlamaBackbone` and `Llama3Backbone`.

    `initializer_range` and `max_sequence_length` are not written, because they change no output of a loaded model.
    KerasHub 0.32 ignores `rope_position_scaling_factor`, and so do presets that are read here. It does not store
    `tie_word_embeddings`; the field is read where a preset has it.
    """

    optional = ("token_embedding/reverse_embeddings",)

    name: ClassVar[str] = "Llama"
    block: ClassVar[str] = "llama_transformer_decoder"
    """The name of a layer in HDF5 files."""
    last_norm: ClassVar[str] = "llama_layer_norm"
    sizes: ClassVar[tuple[str, ...]] = _COUNTS
    """The fields that are sizes."""
    defaults: ClassVar[Mapping[str, Any]] = {
        "rope_max_wavelength": 10_000,
        "rope_position_scaling_factor": 1.0,
        "rope_frequency_adjustment_factor": None,
        "rope_low_freq_factor": None,
        "rope_high_freq_factor": None,
        "rope_pretraining_sequence_length": None,
        "layer_norm_epsilon": 1e-6,
        "dropout": 0,
        "tie_word_embeddings": False,
    }
    """Defaults of KerasHub's constructor for arguments that a config omits."""
    fixed: ClassVar[Mapping[str, Any]] = {}
    """Arguments that have another value than in `PLAIN` in each preset."""
    free: ClassVar[tuple[str, ...]] = ("dropout", "rope_scaling", "initializer_range")
    """Arguments of `PLAIN` that KerasHub's class has an argument for."""
    names: ClassVar[Mapping[str, str]] = {
        "self_attention_layernorm": "_self_attention_layernorm",
        "feedforward_layernorm": "_feedforward_layernorm",
        **{name: f"_self_attention_layer/_{name}_dense" for name in ("query", "key", "value")},
        "attention_output": "_self_attention_layer/_output_dense",
        **{name: f"_{name}" for name in _FEEDFORWARD},
    }
    """The path in HDF5 files of each part of a layer."""
    numbers: ClassVar[tuple[int, Mapping[str, int]]] = (
        11,
        {"feedforward_output_dense": 3, "feedforward_gate_dense": 4, "feedforward_intermediate_dense": 5}
        | {"attention_output": 8, "value": 9, "key": 10, "query": 11},
    )
    """The number of layers with weights in a layer of the decoder, and those of its linear layers, in adapter files."""

    @property
    def _names(self) -> ForeignConfig:
        return ForeignConfig("kerashub", f"KerasHub's {self.name}")

    # === Reading ===

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields = self._names.constructor_arguments(config, self.sizes, self.defaults)
        return {
            **PLAIN,
            **{
                name: fields[name] for name in (*_COUNTS, "rope_max_wavelength", "layer_norm_epsilon") if name in fields
            },
            "dropout": fields.get("dropout", 0),
            "tie_word_embeddings": fields.get("tie_word_embeddings", False),
            **self.fixed,
            **self._scaling(fields),
            **self._own_arguments(fields),
        }

    def _scaling(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments of rotary positions."""
        given = {
            "factor": fields["rope_frequency_adjustment_factor"],
            LENGTH: fields["rope_pretraining_sequence_length"],
            "low_freq_factor": fields["rope_low_freq_factor"],
            "high_freq_factor": fields["rope_high_freq_factor"],
        }
        is_scaled = any(value is not None for value in given.values())
        return {"rope_scaling": {"rope_type": "llama3", **given} if is_scaled else None}

    def _own_arguments(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Returns further arguments."""
        return {}

    # === Writing ===

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        names = self._names
        wanted = {name: value for name, value in PLAIN.items() if name not in (*self.free, "attention_dropout")}
        wanted |= dict(self.fixed)
        for name in differing(arguments, wanted):
            raise names.limit(arguments, name, f"{names.owner} always has {wanted[name]!r}")
        names.check_one_rate(arguments, ("attention_dropout",))
        if arguments["head_dim"] is None and arguments["hidden_dim"] % arguments["num_query_heads"]:
            raise names.limit(
                arguments, "num_query_heads", f"it must divide hidden_dim={arguments['hidden_dim']} there"
            )
        fields = {name: arguments[name] for name in (*_COUNTS, "rope_max_wavelength", "layer_norm_epsilon", "dropout")}
        if "tie_word_embeddings" in self.defaults:
            fields["tie_word_embeddings"] = arguments["tie_word_embeddings"]
        elif arguments["tie_word_embeddings"]:
            raise names.limit(arguments, "tie_word_embeddings", f"{names.owner} always has False")
        return fields | self._scaling_fields(arguments) | self._own_fields(arguments)

    def _scaling_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the fields of rotary positions."""
        scaling = arguments["rope_scaling"] or {"rope_type": None}
        if scaling["rope_type"] not in (None, "llama3"):
            raise self._names.limit(arguments, "rope_scaling", "its rope_type must be 'llama3' there")
        return {
            "rope_frequency_adjustment_factor": scaling.get("factor"),
            "rope_low_freq_factor": scaling.get("low_freq_factor"),
            "rope_high_freq_factor": scaling.get("high_freq_factor"),
            "rope_pretraining_sequence_length": scaling.get(LENGTH),
        }

    def _own_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns further fields."""
        return {}

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        unused = () if arguments["query_key_norm"] else ("query_key_norm_epsilon",)
        return ("initializer_range", "max_sequence_length", *unused)

    # === Tensors ===

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        table = "layers/reversible_embedding/vars"
        rules = {
            "token_embedding/embeddings": TensorRule(f"{table}/0"),
            "sequence_output_layernorm/scale": TensorRule(f"layers/{self.last_norm}/vars/0"),
        }
        if not arguments["tie_word_embeddings"]:
            rules["token_embedding/reverse_embeddings"] = TensorRule(f"{table}/1")
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"layers/{self.block}{f'_{i}' if i else ''}"
            for name, module in self.names.items():
                path = f"self_attention/{name}" if name in (*_PROJECTIONS, "query_norm", "key_norm") else name
                shapes = dict(self._shapes(name, arguments))
                rules |= TensorRule.numbered(f"{ours}/{path}", f"{theirs}/{module}", **shapes)
        return rules

    def _shapes(self, name: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...] | None]]:
        """Yields the weights of a part of a layer, with their shapes in KerasHub."""
        width, of_head = arguments["hidden_dim"], head_dim(arguments)
        if name.endswith("norm"):
            yield "scale", None
        elif name == "attention_output":
            yield "kernel", (arguments["num_query_heads"], of_head, width)
        elif name in _PROJECTIONS:
            heads = (arguments["num_query_heads" if name == "query" else "num_key_value_heads"], of_head)
            yield "kernel", (width, *heads)
            if arguments["attention_bias"]:
                yield "bias", heads
        else:
            yield "kernel", None
            if arguments["mlp_bias"]:
                yield "bias", None

    def numbered_layers(self, arguments: Mapping[str, Any]) -> dict[int, str]:
        """Numbers start with the embedding; then come each layer and its sublayers, the last first."""
        step, inside = self.numbers
        return {
            step * i + number: f"transformer_layer_{i}/{'self_attention/' if name in _PROJECTIONS else ''}{name}"
            for i in range(arguments["num_layers"])
            for name, number in inside.items()
        }


class MistralKerasHub(LlamaKerasHub):
    """Reads and writes presets of KerasHub's `MistralBackbone`."""

    name, block, last_norm = "Mistral", "mistral_transformer_decoder", "mistral_layer_normalization"
    defaults: ClassVar[Mapping[str, Any]] = {
        "rope_max_wavelength": 10_000,
        "rope_scaling_factor": 1.0,
        "layer_norm_epsilon": 1e-6,
        "sliding_window": 512,
        "head_dim": None,
        "dropout": 0,
    }
    free = (*LlamaKerasHub.free, "sliding_window", "head_dim")

    def _scaling(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return _linear(fields["rope_scaling_factor"])

    def _own_arguments(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: fields[name] for name in ("sliding_window", "head_dim")}

    def _scaling_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        scaling = arguments["rope_scaling"]
        if scaling is not None and scaling["rope_type"] != "linear":
            raise self._names.limit(arguments, "rope_scaling", "its rope_type must be 'linear' there")
        return {"rope_scaling_factor": 1.0 if scaling is None else scaling["factor"]}

    def _own_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {name: arguments[name] for name in ("sliding_window", "head_dim")}


class QwenKerasHub(MistralKerasHub):
    """Reads and writes presets of KerasHub's `QwenBackbone`, which is Qwen2.

    KerasHub 0.32 ignores `use_sliding_window_attention` on torch and jax, and so do presets that are read here.
    """

    name, block, last_norm = "Qwen", "qwen_transformer_decoder", "qwen_layer_norm"
    defaults: ClassVar[Mapping[str, Any]] = {
        "rope_max_wavelength": 10_000,
        "rope_scaling_factor": 1.0,
        "layer_norm_epsilon": 1e-6,
        "dropout": 0,
        "tie_word_embeddings": True,
        "use_sliding_window_attention": False,
        "sliding_window_size": 32768,
    }
    fixed: ClassVar[Mapping[str, Any]] = {"attention_bias": True, "attention_output_bias": False}
    free = LlamaKerasHub.free

    def _own_arguments(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def _own_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {}


class Qwen3KerasHub(QwenKerasHub):
    """Reads and writes presets of KerasHub's `Qwen3Backbone`.

    KerasHub 0.32 ignores `sliding_window_size` on torch and jax, and so do presets that are read here. It normalises
    queries and keys with an epsilon of 1e-5, whatever `layer_norm_epsilon` is.
    """

    name, block, last_norm = "Qwen3", "qwen3_transformer_decoder", "qwen3_layer_norm"
    sizes = (*_COUNTS, "head_dim")
    defaults: ClassVar[Mapping[str, Any]] = {
        "rope_max_wavelength": 10_000,
        "rope_scaling_factor": 1.0,
        "layer_norm_epsilon": 1e-6,
        "dropout": 0.0,
        "tie_word_embeddings": True,
        "sliding_window_size": 32768,
    }
    fixed: ClassVar[Mapping[str, Any]] = {"query_key_norm": True, "query_key_norm_epsilon": 1e-5}
    free = (*LlamaKerasHub.free, "head_dim")
    names: ClassVar[Mapping[str, str]] = dict(LlamaKerasHub.names) | {
        f"{name}_norm": f"_self_attention_layer/_{name}_dense_layer_norm" for name in ("query", "key")
    }
    numbers = (13, dict(LlamaKerasHub.numbers[1]) | {"key": 11, "query": 13})

    def _own_arguments(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {"head_dim": fields["head_dim"]}

    def _own_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"head_dim": head_dim(arguments), "sliding_window_size": None}


class Phi3KerasHub(LlamaKerasHub):
    """Reads and writes presets of KerasHub's `Phi3Backbone`."""

    name, block, last_norm = "Phi-3", "phi3_decoder", "phi3_layer_norm"
    sizes = (*_COUNTS, "max_sequence_length", "pretraining_sequence_length")
    defaults: ClassVar[Mapping[str, Any]] = {
        "layer_norm_epsilon": 1e-6,
        "dropout": 0.0,
        "max_sequence_length": 4096,
        "pretraining_sequence_length": 4096,
        "rope_max_wavelength": 10_000,
        "rope_scaling_type": None,
        "rope_scaling_short_factor": None,
        "rope_scaling_long_factor": None,
    }
    names: ClassVar[Mapping[str, str]] = {
        "self_attention_layernorm": "pre_attention_layernorm",
        "feedforward_layernorm": "post_attention_layernorm",
        **{name: f"attention/{name}_dense" for name in ("query", "key", "value")},
        "attention_output": "attention/output_dense",
        **{name: name for name in _FEEDFORWARD},
    }
    numbers = (
        11,
        {"feedforward_output_dense": 2, "feedforward_gate_dense": 3, "feedforward_intermediate_dense": 4}
        | {"attention_output": 7, "value": 8, "key": 9, "query": 10},
    )

    def _scaling(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        kind, most, length = (
            fields[name] for name in ("rope_scaling_type", "max_sequence_length", "pretraining_sequence_length")
        )
        if kind is None:
            return {"max_sequence_length": most}
        if kind != "su":
            raise self._names.refusal("rope_scaling_type", kind, "expected None or 'su'")
        factors = {f"{name}_factor": fields[f"rope_scaling_{name}_factor"] for name in ("short", "long")}
        scaling = {"rope_type": "longrope", "factor": most / length, LENGTH: length, **factors}
        return {"max_sequence_length": most, "rope_scaling": scaling}

    def _scaling_fields(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        scaling, most = arguments["rope_scaling"], arguments["max_sequence_length"]
        if scaling is None:
            return {"max_sequence_length": most, "pretraining_sequence_length": most}
        length = scaling.get(LENGTH)
        if scaling["rope_type"] != "longrope" or scaling.get("attention_factor") is not None:
            raise self._names.limit(
                arguments, "rope_scaling", "it must be a 'longrope' without an attention_factor there"
            )
        if scaling["factor"] * length != most:
            problem = f"its factor must be max_sequence_length={most} divided by its {LENGTH} there"
            raise self._names.limit(arguments, "rope_scaling", problem)
        return {
            "max_sequence_length": most,
            "pretraining_sequence_length": length,
            "rope_scaling_type": "su",
            "rope_scaling_short_factor": scaling["short_factor"],
            "rope_scaling_long_factor": scaling["long_factor"],
        }

    def ineffective_arguments(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(name for name in super().ineffective_arguments(arguments) if name != "max_sequence_length")


def _linear(factor: float) -> dict[str, Any]:
    return {"rope_scaling": None if factor == 1 else {"rope_type": "linear", "factor": factor}}
