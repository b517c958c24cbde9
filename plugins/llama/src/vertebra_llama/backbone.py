"""Llama (arXiv:2302.13971) and the decoders that changed a few of its layers: one network, and a class for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import keras
from annotated_types import Interval

from vertebra import Backbone, hints, layers
from vertebra_llama import layout
from vertebra_llama import rope_scaling as scalings
from vertebra_llama.decoder import DecoderBlock, norm
from vertebra_llama.layer_types import head_dim, rotary_width, windows
from vertebra_llama.rotary import RotaryEmbedding

Share = Annotated[float, Interval(gt=0, le=1)]


@keras.saving.register_keras_serializable("vertebra_llama")
class LlamaBackbone(Backbone):
    """A Llama decoder, of any generation.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding, which may be on either side.

    Output: the hidden states, of shape `(batch, length, hidden_dim)`. `token_embedding(states, reverse=True)` returns
    their logits.

    Unlike this class, KerasHub 0.32 applies no `dropout` after the feed-forward network, and applies it to the mixed
    values instead of the attention probabilities.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of transformer layers.
        num_query_heads: Number of heads of the queries.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward network's gate, and of its gated projection.
        num_key_value_heads: Number of heads of keys and values, each shared by a group of query heads; it divides
            `num_query_heads`.
        rope_max_wavelength: Base of the wavelengths of rotary position embeddings (arXiv:2104.09864).
        layer_norm_epsilon: Added to the mean square in normalisation.
        dropout: Dropout rate of attention probabilities and of the outputs of attention and feed-forward network, in
            [0, 1).
        tie_word_embeddings: Whether the matrix of the logits is the token table, or one of its own.
        head_dim: Width of a head, or None for `hidden_dim // num_query_heads`.
        max_sequence_length: Number of positions that the model is trained for; longer inputs are no error.
        sliding_window: Number of tokens to which a token attends in layers with a window, including itself; None if no
            layer has one.
        layer_types: `"sliding_attention"` or `"full_attention"` for each layer; None means `"sliding_attention"` for
            all if there is a `sliding_window`.
        rope_scaling: The scaling of rotary positions: a mapping with a `rope_type`, `linear`, `dynamic`, `yarn`,
            `longrope` or `llama3`, and its fields, as in `rope_parameters` of transformers; None means no scaling.
        partial_rotary_factor: Share of a head's elements that are rotated, in (0, 1]: an even number of elements.
        rope_layer_enabled_list: Whether queries and keys are rotated, for each layer; None means that all are.
        query_key_norm: Whether each head of queries and keys is normalised, as in Qwen3.
        query_key_norm_epsilon: Added to the mean square in these normalisations, or None for `layer_norm_epsilon`.
        attention_bias: Whether the projections of attention have biases.
        attention_output_bias: Whether the last of them has, or None for `attention_bias`.
        mlp_bias: Whether the projections of the feed-forward network have biases.
        activation: Activation of the feed-forward network's gate, one of `vertebra.activations.NAMES`.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: an argument is of another type than expected or out of range, does not divide another as required,
            or contradicts another.
    """

    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = layout.ROLES

    def __init__(
        self,
        vocabulary_size: hints.Size,
        num_layers: hints.Layers,
        num_query_heads: hints.Size,
        hidden_dim: hints.Size,
        intermediate_dim: hints.Size,
        num_key_value_heads: hints.Size,
        rope_max_wavelength: hints.Positive = 10_000.0,
        layer_norm_epsilon: hints.Positive = 1e-6,
        dropout: hints.Rate = 0,
        dtype: Any = None,
        tie_word_embeddings: hints.Flag = False,
        *,
        head_dim: hints.Size | None = None,
        max_sequence_length: hints.Size = 4096,
        sliding_window: hints.Size | None = None,
        layer_types: Sequence[str] | None = None,
        rope_scaling: Mapping[str, Any] | None = None,
        partial_rotary_factor: Share = 1.0,
        rope_layer_enabled_list: list[bool] | None = None,
        query_key_norm: hints.Flag = False,
        query_key_norm_epsilon: hints.Positive | None = None,
        attention_bias: hints.Flag = False,
        attention_output_bias: hints.Flag | None = None,
        mlp_bias: hints.Flag = False,
        activation: hints.Activation = "silu",
        attention_dropout: hints.Rate | None = None,
        initializer_range: hints.Deviation = 0.02,
        **kwargs: Any,
    ) -> None:
        arguments = _checked(hints.checked(LlamaBackbone.__init__, locals()))
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
        network = _Layers(arguments, dtype)
        outputs = network.connect(**inputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.layer_norm = network.token_embedding, network.layer_norm
        self.transformer_layers = network.transformer_layers


@keras.saving.register_keras_serializable("vertebra_llama")
class MistralBackbone(LlamaBackbone):
    """A Mistral decoder (arXiv:2310.06825): Llama's network, of whose layers all may have a `sliding_window`.

    Arguments, inputs and output are those of `LlamaBackbone`.
    """


@keras.saving.register_keras_serializable("vertebra_llama")
class Qwen2Backbone(LlamaBackbone):
    """A Qwen2 or Qwen2.5 decoder (arXiv:2407.10671): Llama's network, with biases of queries, keys and values.

    Arguments, which have names in calls, inputs and output are those of `LlamaBackbone`, with other defaults. It is
    KerasHub's `QwenBackbone`.
    """

    def __init__(
        self,
        *,
        tie_word_embeddings: hints.Flag = True,
        attention_bias: hints.Flag = True,
        attention_output_bias: hints.Flag | None = False,
        **kwargs: Any,
    ) -> None:
        kwargs |= {"attention_bias": attention_bias, "attention_output_bias": attention_output_bias}
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


@keras.saving.register_keras_serializable("vertebra_llama")
class Qwen3Backbone(LlamaBackbone):
    """A Qwen3 decoder (arXiv:2505.09388): Llama's network, with normalised queries and keys.

    Arguments, which have names in calls, inputs and output are those of `LlamaBackbone`, with other defaults.
    """

    def __init__(
        self,
        *,
        tie_word_embeddings: hints.Flag = True,
        query_key_norm: hints.Flag = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(tie_word_embeddings=tie_word_embeddings, query_key_norm=query_key_norm, **kwargs)


@keras.saving.register_keras_serializable("vertebra_llama")
class SmolLM3Backbone(LlamaBackbone):
    """A SmolLM3 decoder: Llama's network, some of whose layers do not rotate queries and keys (arXiv:2501.18795).

    Arguments, which have names in calls, inputs and output are those of `LlamaBackbone`, with other defaults.
    """

    def __init__(
        self,
        *,
        tie_word_embeddings: hints.Flag = True,
        rope_max_wavelength: hints.Positive = 2_000_000.0,
        **kwargs: Any,
    ) -> None:
        kwargs |= {"tie_word_embeddings": tie_word_embeddings, "rope_max_wavelength": rope_max_wavelength}
        super().__init__(**kwargs)


@keras.saving.register_keras_serializable("vertebra_llama")
class Phi3Backbone(LlamaBackbone):
    """A Phi-3, Phi-3.5 or Phi-4-mini decoder (arXiv:2404.14219): Llama's network.

    Arguments, inputs and output are those of `LlamaBackbone`. transformers has one projection for queries, keys and
    values, and one for the gate and the projection that it multiplies: their parts are layers here.
    """


class _Layers:
    """The layers of a backbone, and how they are connected."""

    def __init__(self, arguments: Mapping[str, Any], dtype: Any) -> None:
        count = arguments["num_layers"]
        self.rotates = arguments["rope_layer_enabled_list"] or [True] * count
        self.windows = windows(arguments)
        self.token_embedding = keras.layers.ReversibleEmbedding(
            arguments["vocabulary_size"],
            arguments["hidden_dim"],
            tie_weights=arguments["tie_word_embeddings"],
            embeddings_initializer=keras.initializers.RandomNormal(stddev=arguments["initializer_range"]),
            dtype=dtype,
            name="token_embedding",
        )
        self.rotary_embedding = RotaryEmbedding(
            rotary_width(arguments),
            arguments["rope_max_wavelength"],
            arguments["rope_scaling"],
            dtype=dtype,
            name="rotary_embedding",
        )
        names = {None: "causal_mask"} | {window: "sliding_mask" for window in self.windows if window is not None}
        self.masks = {
            window: layers.CausalMask(window, dtype=dtype, name=names[window]) for window in dict.fromkeys(self.windows)
        }
        self.transformer_layers = [
            DecoderBlock(arguments, dtype=dtype, name=f"transformer_layer_{i}") for i in range(count)
        ]
        self.layer_norm = norm(arguments, dtype, "sequence_output_layernorm")

    def connect(self, token_ids: Any, padding_mask: Any) -> Any:
        # Many layers share rotations and masks, so they are computed once.
        rotation = self.rotary_embedding(token_ids) if any(self.rotates) else None
        masks = {window: layer(padding_mask) for window, layer in self.masks.items()}
        x = self.token_embedding(token_ids)
        for block, rotates, window in zip(self.transformer_layers, self.rotates, self.windows, strict=True):
            x = block(x, rotation=rotation if rotates else None, attention_mask=masks[window])
        return self.layer_norm(x)


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments as JSON.

    Raises:
        ValueError: an argument contradicts another, or a scaling is invalid.
    """
    heads, width, count = arguments["num_query_heads"], arguments["hidden_dim"], arguments["num_layers"]
    if heads % arguments["num_key_value_heads"]:
        raise _out_of_range(arguments, "num_key_value_heads", f"a divisor of num_query_heads={heads}")
    if arguments["head_dim"] is None and width % heads:
        raise _out_of_range(arguments, "num_query_heads", f"a divisor of hidden_dim={width}, or a head_dim")
    if rotary_width(arguments) % 2 or not rotary_width(arguments):
        expected = f"an even number of the {head_dim(arguments)} elements of a head"
        raise _out_of_range(arguments, "partial_rotary_factor", expected)
    rotates = arguments["rope_layer_enabled_list"]
    if rotates is not None and len(rotates) != count:
        raise _out_of_range(arguments, "rope_layer_enabled_list", f"True or False for each of num_layers={count}")
    windows(arguments)
    scaling = scalings.check(arguments["rope_scaling"], rotary_width(arguments), arguments["rope_max_wavelength"])
    lists = {name: arguments[name] and list(arguments[name]) for name in ("layer_types", "rope_layer_enabled_list")}
    return arguments | lists | {"rope_scaling": scaling}


def _out_of_range(arguments: Mapping[str, Any], name: str, expected: str) -> ValueError:
    return ValueError(f"{name}={arguments[name]!r}, expected {expected}.")
