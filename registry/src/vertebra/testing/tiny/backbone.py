"""A backbone of 328 parameters, with the capabilities of large ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras

from vertebra import hints
from vertebra.backbone import Backbone
from vertebra.testing import tiny_layout


@keras.saving.register_keras_serializable("vertebra_testing")
class TinyBackbone(Backbone):
    """A small encoder: an embedding of tokens, and dense layers that see one token at a time.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`, and `padding_mask`, whose zeros give zeros.
    Output: `sequence_output` of shape `(batch, length, width)`.

    Args:
        vocabulary_size: Number of tokens.
        width: Width of the hidden states.
        num_layers: Number of dense layers.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.
    """

    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = tiny_layout.ROLES
    lora_targets: ClassVar[Sequence[str]] = ("mlp",)

    def __init__(
        self,
        vocabulary_size: hints.Size = 32,
        width: hints.Size = 8,
        num_layers: hints.Layers = 1,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(TinyBackbone.__init__, locals())
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
        embedding = keras.layers.Embedding(vocabulary_size, width, dtype=dtype, name="token_embedding")
        states = embedding(inputs["token_ids"])
        for number in range(num_layers):
            dense = keras.layers.Dense(width, "tanh", dtype=dtype, name=f"dense_{number}")
            states = keras.layers.Add(dtype=dtype, name=f"add_{number}")([states, dense(states)])
        mask = keras.layers.Reshape((-1, 1), dtype=dtype, name="mask")(inputs["padding_mask"])
        states = keras.layers.Multiply(dtype=dtype, name="masked")([states, mask])
        super().__init__(inputs=inputs, outputs={"sequence_output": states}, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding = embedding
