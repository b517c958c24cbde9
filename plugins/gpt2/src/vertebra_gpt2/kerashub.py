"""GPT-2 in KerasHub's format: what its config and datasets are called there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import TensorRule, Translation
from vertebra.errors import FormatLimitError, PresetConfigError

_COUNTS = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")
_DEFAULTS = {"dropout": 0.1, "max_sequence_length": 1024}
"""What KerasHub's constructor assumes for an argument that a config leaves out."""
_FIELDS = (*_COUNTS, "dropout")

_FIXED = {
    "activation": "gelu_approximate",
    "layer_norm_epsilon": 1e-5,
    "scale_attention": True,
    "scale_attention_by_inverse_layer_index": False,
}
"""Arguments that KerasHub's class does not take, with what it always computes."""

_MOST, _MOST_LAYERS = 2**24, 1_000


class GPT2KerasHub(Translation):
    """Reads and writes presets of KerasHub's `GPT2Backbone`.

    `initializer_range` is not written: nothing is initialised where weights are loaded.
    """

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in config.items():
            if name not in _FIELDS:
                raise _refusal(name, value, f"expected none but {', '.join(_FIELDS)}")
        arguments = {**_DEFAULTS, **config}
        _check_counts(arguments)
        return arguments

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in _FIXED.items():
            if arguments[name] != value:
                raise FormatLimitError("kerashub", name, arguments[name], f"KerasHub's GPT-2 always has {value!r}")
        # These change training alone, but a preset is there to be trained on, too.
        for name in ("attention_dropout", "embedding_dropout"):
            if arguments[name] not in (None, arguments["dropout"]):
                problem = f"KerasHub's GPT-2 has one rate for all, dropout={arguments['dropout']!r}"
                raise FormatLimitError("kerashub", name, arguments[name], problem)
        return {name: arguments[name] for name in _FIELDS}

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        rules = {
            "token_embedding/embeddings": TensorRule("layers/reversible_embedding/vars/0"),
            "position_embedding/embeddings": TensorRule("layers/position_embedding/vars/0"),
            **_norm("layer_norm", "layers/layer_normalization"),
        }
        width, heads = arguments["hidden_dim"], arguments["num_heads"]
        split = (heads, width // heads)
        for i in range(arguments["num_layers"]):
            ours, theirs = f"transformer_layer_{i}", f"layers/transformer_decoder{f'_{i}' if i else ''}"
            attention, their_attention = f"{ours}/self_attention", f"{theirs}/_self_attention_layer"
            for name in ("query", "key", "value"):
                rules |= _dense(f"{attention}/{name}", f"{their_attention}/{name}_dense", (width, *split), split)
            rules |= {
                **_norm(f"{ours}/self_attention_layer_norm", f"{theirs}/_self_attention_layer_norm"),
                **_dense(f"{attention}/attention_output", f"{their_attention}/output_dense", (*split, width)),
                **_norm(f"{ours}/feedforward_layer_norm", f"{theirs}/_feedforward_layer_norm"),
                **_dense(f"{ours}/feedforward_intermediate_dense", f"{theirs}/_feedforward_intermediate_dense"),
                **_dense(f"{ours}/feedforward_output_dense", f"{theirs}/_feedforward_output_dense"),
            }
        return rules

    def current_name(self, tensor: str) -> str:
        # Up to Keras 2.13, the layers of a model were kept under another name.
        return tensor.replace("_layer_checkpoint_dependencies", "layers")


def _check_counts(arguments: Mapping[str, Any]) -> None:
    """Refuses sizes that are none before anything is counted or built by them."""
    for name in _COUNTS:
        value, most = arguments.get(name), _MOST_LAYERS if name == "num_layers" else _MOST
        if type(value) is not int or not 0 < value <= most:
            raise _refusal(name, value, f"expected an int from 1 to {most}")


def _dense(
    ours: str, theirs: str, kernel: tuple[int, ...] | None = None, bias: tuple[int, ...] | None = None
) -> dict[str, TensorRule]:
    return {
        f"{ours}/kernel": TensorRule(f"{theirs}/vars/0", shape=kernel),
        f"{ours}/bias": TensorRule(f"{theirs}/vars/1", shape=bias),
    }


def _norm(ours: str, theirs: str) -> dict[str, TensorRule]:
    return {f"{ours}/gamma": TensorRule(f"{theirs}/vars/0"), f"{ours}/beta": TensorRule(f"{theirs}/vars/1")}


def _refusal(argument: str, value: object, problem: str) -> PresetConfigError:
    return PresetConfigError("config.json of a KerasHub GPT-2", f"{argument} is {value!r}, {problem}")
