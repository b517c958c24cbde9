"""Gemma 3 (arXiv:2503.19786) for text, and EmbeddingGemma (arXiv:2509.20354)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from vertebra import hints
from vertebra_gemma.arguments import FULL, SLIDING, check, gemma3_layer_types
from vertebra_gemma.network import GemmaDecoder, Network


@keras.saving.register_keras_serializable("vertebra_gemma")
class Gemma3Backbone(GemmaDecoder):
    """The text decoder of Gemma 3, or the text encoder of EmbeddingGemma, which attends in both directions.

    Layers with a window have rotations of their own, with shorter wavelengths.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding, which may be on either side. There is no input for images.

    Output: the hidden states, of shape `(batch, length, hidden_dim)`. `token_embedding(states, reverse=True)` returns
    their logits, capped by `final_logit_soft_cap`.

    Unlike this class, KerasHub 0.32 ignores `query_head_dim_normalize=False`, uses `layer_norm_epsilon` only in the
    last normalisation, and applies no `dropout` after the feed-forward network. It has arguments for images, and
    for the dense layers of EmbeddingGemma, which are those of `TextEmbedder` here.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of transformer layers.
        num_query_heads: Number of heads of the queries.
        num_key_value_heads: Number of heads of keys and values, each shared by a group of query heads; it divides
            `num_query_heads`.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward network's gate. Unlike that of `GemmaBackbone`, it does not include
            the gated projection.
        head_dim: Width of a head: an even number.
        query_head_dim_normalize: Whether attention scores are divided by the square root of `head_dim`, or else of
            `hidden_dim // num_query_heads`, as in Gemma 3 27B.
        use_query_key_norm: Whether each head of queries and keys is normalised.
        use_post_ffw_norm: Whether the output of the feed-forward network is normalised, as in all Gemma 3 models.
        use_post_attention_norm: Whether the output of attention is normalised, as in all Gemma 3 models.
        attention_logit_soft_cap: Attention scores become `cap * tanh(scores / cap)`; None means no cap.
        final_logit_soft_cap: The same for the logits of `token_embedding`.
        use_sliding_window_attention: Whether some layers attend only to a window, as in all Gemma 3 models.
        sliding_window_size: Number of tokens to which a token attends in such layers, including itself. With
            `use_bidirectional_attention`, a token attends to `sliding_window_size // 2` tokens on either side, and to
            itself; KerasHub 0.32 counts one token less before it if the size is even.
        local_rope_scaling_factor: Positions are divided by it in layers with a window (arXiv:2306.15595).
        global_rope_scaling_factor: The same in all other layers; 8 from Gemma 3 4B on.
        layer_norm_epsilon: Added to the mean square in normalisation.
        use_bidirectional_attention: Whether tokens attend to those after them, too, as in EmbeddingGemma.
        dropout: Dropout rate of attention probabilities and of the outputs of attention and feed-forward network, in
            [0, 1).
        query_pre_attention_scalar: Attention scores are divided by its square root; None means the number that
            `query_head_dim_normalize` chooses.
        local_rope_max_wavelength: Base of the wavelengths of rotary position embeddings (arXiv:2104.09864) in layers
            with a window.
        global_rope_max_wavelength: The same in all other layers.
        activation: Activation of the feed-forward network's gate, one of `vertebra.activations.NAMES`.
        attention_bias: Whether the projections of attention have biases.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        layer_types: `"sliding_attention"` or `"full_attention"` for each layer; None means `"full_attention"` for the
            layers 5, 11, 17, … and `"sliding_attention"` for all others, or `"full_attention"` for all without
            `use_sliding_window_attention`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings, or None for KerasHub's
            initialisers: Glorot's for kernels, and a deviation of `vocabulary_size ** -0.5` for embeddings.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: an argument is of another type than expected or out of range, does not divide another as required,
            or contradicts another.
    """

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
        use_query_key_norm: hints.Flag = True,
        use_post_ffw_norm: hints.Flag = False,
        use_post_attention_norm: hints.Flag = False,
        attention_logit_soft_cap: hints.Positive | None = None,
        final_logit_soft_cap: hints.Positive | None = None,
        use_sliding_window_attention: hints.Flag = False,
        sliding_window_size: hints.Size = 1024,
        local_rope_scaling_factor: hints.Positive = 1.0,
        global_rope_scaling_factor: hints.Positive = 1.0,
        layer_norm_epsilon: hints.Positive = 1e-6,
        use_bidirectional_attention: hints.Flag = False,
        dropout: hints.Rate = 0,
        dtype: Any = None,
        *,
        query_pre_attention_scalar: hints.Positive | None = None,
        local_rope_max_wavelength: hints.Positive = 10_000.0,
        global_rope_max_wavelength: hints.Positive = 1_000_000.0,
        activation: hints.Activation = "gelu_approximate",
        attention_bias: hints.Flag = False,
        attention_dropout: hints.Rate | None = None,
        layer_types: Sequence[str] | None = None,
        initializer_range: hints.Deviation | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(Gemma3Backbone.__init__, locals())
        check(arguments, even=("head_dim",))
        arguments["layer_types"] = None if layer_types is None else list(layer_types)
        rotations = {
            SLIDING: (local_rope_max_wavelength, local_rope_scaling_factor),
            FULL: (global_rope_max_wavelength, global_rope_scaling_factor),
        }
        both_halves = arguments | {"intermediate_dim": 2 * intermediate_dim}
        network = Network(both_halves, gemma3_layer_types(arguments), rotations, dtype)
        super().__init__(inputs=network.inputs, outputs=network.outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.layer_norm = network.token_embedding, network.layer_norm
        self.transformer_layers = network.transformer_layers
