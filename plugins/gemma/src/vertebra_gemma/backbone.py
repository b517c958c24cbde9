"""Gemma 1 (arXiv:2403.08295) and Gemma 2 (arXiv:2408.00118): token embeddings, then a transformer decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras

from vertebra import Backbone, hints
from vertebra_gemma.decoder import AttentionMask, DecoderBlock, RMSNormalization, RotaryEmbedding

SLIDING, FULL = "sliding_attention", "full_attention"
"""The two types of layers."""


@keras.saving.register_keras_serializable("vertebra_gemma")
class GemmaBackbone(Backbone):
    """A Gemma decoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding, which may be on either side.

    Output: the hidden states, of shape `(batch, length, hidden_dim)`. `token_embedding(states, reverse=True)` returns
    their logits, capped by `final_logit_soft_cap`.

    Unlike this class, KerasHub 0.32 ignores `query_head_dim_normalize=False`, uses `layer_norm_epsilon` only in the
    last normalisation, and applies no `dropout` after the feed-forward network.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of transformer layers.
        num_query_heads: Number of heads of the queries.
        num_key_value_heads: Number of heads of keys and values, each shared by a group of query heads; it divides
            `num_query_heads`.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward network's gate and its gated projection together: an even number.
        head_dim: Width of a head: an even number.
        query_head_dim_normalize: Whether attention scores are divided by the square root of `head_dim`, or else of
            `hidden_dim // num_query_heads`, as in Gemma 2 27B.
        use_post_ffw_norm: Whether the output of the feed-forward network is normalised, as in Gemma 2.
        use_post_attention_norm: Whether the output of attention is normalised, as in Gemma 2.
        attention_logit_soft_cap: Attention scores become `cap * tanh(scores / cap)`; None means no cap.
        final_logit_soft_cap: The same for the logits of `token_embedding`.
        use_sliding_window_attention: Whether some layers attend only to a window, as in Gemma 2.
        sliding_window_size: Number of tokens to which a token attends in such layers, including itself.
        layer_norm_epsilon: Added to the mean square in normalisation.
        dropout: Dropout rate of attention probabilities and of the outputs of attention and feed-forward network, in
            [0, 1).
        query_pre_attention_scalar: Attention scores are divided by its square root; None means the number that
            `query_head_dim_normalize` chooses.
        rope_max_wavelength: Base of the wavelengths of rotary position embeddings (arXiv:2104.09864).
        rope_scaling_factor: Positions are divided by it (arXiv:2306.15595).
        activation: Activation of the feed-forward network's gate, one of `vertebra.activations.NAMES`.
        attention_bias: Whether the projections of attention have biases.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        layer_types: `"sliding_attention"` or `"full_attention"` for each layer; None means `"sliding_attention"` for
            the layers 0, 2, 4, … if `use_sliding_window_attention`, and `"full_attention"` for all others.
        initializer_range: Standard deviation of newly initialised kernels and embeddings, or None for KerasHub's
            initialisers: Glorot's for kernels, and a deviation of `vocabulary_size ** -0.5` for embeddings.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: an argument is of another type than expected or out of range, does not divide another as required,
            or contradicts another.
    """

    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = {
        "attention.query": ("decoder_block_*/attention/query",),
        "attention.key": ("decoder_block_*/attention/key",),
        "attention.value": ("decoder_block_*/attention/value",),
        "attention.output": ("decoder_block_*/attention/attention_output",),
        "mlp.gate": ("decoder_block_*/ffw_gating",),
        "mlp.up": ("decoder_block_*/ffw_gating_2",),
        "mlp.down": ("decoder_block_*/ffw_linear",),
        "embedding.token": ("token_embedding",),
    }

    def __init__(
        self,
        vocabulary_size: hints.Size,
        num_layers: hints.Layers,
        num_query_heads: hints.Size,
        num_key_value_heads: hints.Size,
        hidden_dim: hints.Size,
        intermediate_dim: hints.Size,
        head_dim: hints.Size,
        query_head_dim_normalize: hints.Flag = True,
        use_post_ffw_norm: hints.Flag = False,
        use_post_attention_norm: hints.Flag = False,
        attention_logit_soft_cap: hints.Positive | None = None,
        final_logit_soft_cap: hints.Positive | None = None,
        use_sliding_window_attention: hints.Flag = False,
        sliding_window_size: hints.Size = 4096,
        layer_norm_epsilon: hints.Positive = 1e-6,
        dropout: hints.Rate = 0,
        dtype: Any = None,
        *,
        query_pre_attention_scalar: hints.Positive | None = None,
        rope_max_wavelength: hints.Positive = 10_000.0,
        rope_scaling_factor: hints.Positive = 1.0,
        activation: hints.Activation = "gelu_approximate",
        attention_bias: hints.Flag = False,
        attention_dropout: hints.Rate | None = None,
        layer_types: Sequence[str] | None = None,
        initializer_range: hints.Deviation | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(GemmaBackbone.__init__, locals())
        _check_widths(arguments)
        _check_layer_types(arguments)
        arguments["layer_types"] = None if layer_types is None else list(layer_types)
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
        network = _Layers(arguments, dtype)
        outputs = network.connect(**inputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.layer_norm = network.token_embedding, network.final_normalization
        self.transformer_layers = network.decoder_blocks

    @staticmethod
    def get_layout_map(
        device_mesh: keras.distribution.DeviceMesh,
        model_parallel_dim_name: str = "model",
        data_parallel_dim_name: str = "batch",
    ) -> keras.distribution.LayoutMap:
        """Returns a layout of the weights over devices, for `keras.distribution.ModelParallel`.

        Heads and the feed-forward network's width are split along one axis of the mesh, `hidden_dim` along the other.

        Raises:
            ValueError: the mesh has no axis of a given name.
        """
        model, data = model_parallel_dim_name, data_parallel_dim_name
        for name in (model, data):
            if name not in device_mesh.axis_names:
                raise ValueError(f"The mesh has no axis {name!r}; its axes are {', '.join(device_mesh.axis_names)}.")
        layout = keras.distribution.LayoutMap(device_mesh)
        layout["token_embedding/embeddings"] = (model, data)
        layout["decoder_block.*/attention/(query|key|value)/kernel"] = (data, model)
        layout["decoder_block.*/attention/attention_output/kernel"] = (model, data)
        layout["decoder_block.*/ffw_gating(_2)?/kernel"] = (data, model)
        layout["decoder_block.*/ffw_linear/kernel"] = (model, data)
        return layout


class _Layers:
    """The layers of a backbone, and how they are connected."""

    def __init__(self, arguments: Mapping[str, Any], dtype: Any) -> None:
        self.types = _layer_types(arguments)
        self.token_embedding = keras.layers.ReversibleEmbedding(
            arguments["vocabulary_size"],
            arguments["hidden_dim"],
            embeddings_initializer=_embedding_initializer(arguments),
            logit_soft_cap=arguments["final_logit_soft_cap"],
            dtype=dtype,
            name="token_embedding",
        )
        scale = arguments["hidden_dim"] ** 0.5
        self.embedding_scale = keras.layers.Rescaling(scale, dtype=dtype, name="embedding_scale")
        self.rotary_embedding = RotaryEmbedding(
            arguments["head_dim"],
            arguments["rope_max_wavelength"],
            arguments["rope_scaling_factor"],
            dtype=dtype,
            name="rotary_embedding",
        )
        windows = {SLIDING: arguments["sliding_window_size"], FULL: None}
        self.masks = {
            kind: AttentionMask(windows[kind], dtype=dtype, name=f"{kind}_mask") for kind in sorted(set(self.types))
        }
        names = [f"decoder_block_{i}" for i in range(arguments["num_layers"])]
        self.decoder_blocks = [DecoderBlock(arguments, dtype=dtype, name=name) for name in names]
        self.final_normalization = RMSNormalization(
            arguments["layer_norm_epsilon"], dtype=dtype, name="final_normalization"
        )

    def connect(self, token_ids: Any, padding_mask: Any) -> Any:
        # Many layers share rotations and masks, so they are computed once.
        rotation = self.rotary_embedding(token_ids)
        masks = {kind: layer(padding_mask) for kind, layer in self.masks.items()}
        x = self.embedding_scale(self.token_embedding(token_ids))
        for block, kind in zip(self.decoder_blocks, self.types, strict=True):
            x = block(x, rotation=rotation, attention_mask=masks[kind])
        return self.final_normalization(x)


def _layer_types(arguments: Mapping[str, Any]) -> list[str]:
    if arguments["layer_types"] is not None:
        return arguments["layer_types"]
    even = SLIDING if arguments["use_sliding_window_attention"] else FULL
    return [FULL if i % 2 else even for i in range(arguments["num_layers"])]


def _embedding_initializer(arguments: Mapping[str, Any]) -> Any:
    if arguments["initializer_range"] is None:
        return keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")
    return keras.initializers.RandomNormal(stddev=arguments["initializer_range"])


def _check_widths(arguments: Mapping[str, Any]) -> None:
    for name in ("intermediate_dim", "head_dim"):
        if arguments[name] % 2:
            raise _out_of_range(arguments, name, "an even number, because it is split into halves")
    heads = arguments["num_query_heads"]
    if heads % arguments["num_key_value_heads"]:
        raise _out_of_range(arguments, "num_key_value_heads", f"a divisor of num_query_heads={heads}")
    if arguments["hidden_dim"] < heads and not arguments["query_head_dim_normalize"]:
        raise _out_of_range(arguments, "query_head_dim_normalize", "True if hidden_dim is below num_query_heads")


def _check_layer_types(arguments: Mapping[str, Any]) -> None:
    types, slides = arguments["layer_types"], arguments["use_sliding_window_attention"]
    if types is None:
        return
    listed = isinstance(types, list | tuple) and all(kind in (SLIDING, FULL) for kind in types)
    if not listed or len(types) != arguments["num_layers"]:
        expected = f"{SLIDING!r} or {FULL!r} for each of num_layers={arguments['num_layers']}"
        raise _out_of_range(arguments, "layer_types", expected)
    if (SLIDING in types) != slides:
        raise _out_of_range(arguments, "layer_types", f"types that agree with use_sliding_window_attention={slides}")


def _out_of_range(arguments: Mapping[str, Any], name: str, expected: str) -> ValueError:
    return ValueError(f"{name}={arguments[name]!r}, expected {expected}.")
