"""The network of all Gemmas: token embeddings, then a transformer decoder; and what their classes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras

from vertebra import Backbone
from vertebra_gemma import layout
from vertebra_gemma.arguments import SLIDING
from vertebra_gemma.decoder import AttentionMask, BidirectionalMask, DecoderBlock, RMSNormalization, RotaryEmbedding


class GemmaDecoder(Backbone):
    """The base class of Gemma's classes."""

    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = layout.ROLES


class Network:
    """The layers of a backbone, connected.

    Args:
        arguments: The arguments of the backbone; `intermediate_dim` counts the gate and its gated projection together.
            `use_query_key_norm` and `use_bidirectional_attention` may be missing, which means False.
        types: The type of each layer.
        rotations: Wavelength base and scaling factor of the rotations in layers of each type.
        dtype: Dtype or dtype policy of the layers.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        types: Sequence[str],
        rotations: Mapping[str, tuple[float, float]],
        dtype: Any,
    ) -> None:
        self._arguments, self._dtype = arguments, dtype
        self.token_embedding = keras.layers.ReversibleEmbedding(
            arguments["vocabulary_size"],
            arguments["hidden_dim"],
            embeddings_initializer=_embedding_initializer(arguments),
            logit_soft_cap=arguments["final_logit_soft_cap"],
            dtype=dtype,
            name="token_embedding",
        )
        names = [f"decoder_block_{i}" for i in range(arguments["num_layers"])]
        self.transformer_layers = [DecoderBlock(arguments, dtype=dtype, name=name) for name in names]
        self.layer_norm = RMSNormalization(arguments["layer_norm_epsilon"], dtype=dtype, name="final_normalization")
        self.inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
        self.outputs = self._connect(types, rotations, **self.inputs)

    def _connect(self, types: Sequence[str], rotations: Mapping[str, Any], token_ids: Any, padding_mask: Any) -> Any:
        # Many layers share rotations and masks, so they are computed once.
        rotation = self._rotations(rotations, types, token_ids)
        masks = {kind: self._mask(kind)(padding_mask) for kind in sorted(set(types))}
        scale = self._arguments["hidden_dim"] ** 0.5
        x = keras.layers.Rescaling(scale, dtype=self._dtype, name="embedding_scale")(self.token_embedding(token_ids))
        for block, kind in zip(self.transformer_layers, types, strict=True):
            x = block(x, rotation=rotation[kind], attention_mask=masks[kind])
        return self.layer_norm(x)

    def _rotations(
        self, rotations: Mapping[str, tuple[float, float]], types: Sequence[str], token_ids: Any
    ) -> dict[str, Any]:
        """Returns the rotation of each type of layers; types with equal rotations share a layer."""
        by_type = len(set(rotations.values())) > 1
        computed = {}
        for kind in sorted(set(types)):
            if rotations[kind] not in computed:
                name = f"{kind}_rotary_embedding" if by_type else "rotary_embedding"
                layer = RotaryEmbedding(self._arguments["head_dim"], *rotations[kind], dtype=self._dtype, name=name)
                computed[rotations[kind]] = layer(token_ids)
        return {kind: computed[rotations[kind]] for kind in set(types)}

    def _mask(self, kind: str) -> AttentionMask | BidirectionalMask:
        window = self._arguments["sliding_window_size"] if kind == SLIDING else None
        bidirectional = self._arguments.get("use_bidirectional_attention", False)
        mask = BidirectionalMask if bidirectional else AttentionMask
        return mask(window, dtype=self._dtype, name=f"{kind}_mask")


def _embedding_initializer(arguments: Mapping[str, Any]) -> Any:
    if arguments["initializer_range"] is None:
        return keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")
    return keras.initializers.RandomNormal(stddev=arguments["initializer_range"])
