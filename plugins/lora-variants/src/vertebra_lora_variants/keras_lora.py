"""Keras's own LoRA, which factors a kernel with heads on the axis of one head; KerasHub's `.lora.h5` files hold it."""

from __future__ import annotations

from typing import Any

from vertebra import LinearView, LoraStrategy
from vertebra.errors import LoraConfigError


class KerasLora(LoraStrategy):
    """`a` has a matrix for each head, and `b`, of the width of one head, is the same for all of them.

    Starts are those of `enable_lora` of Keras's layers. Where a layer has one head, or nobody says how many, it is
    plain LoRA. Unlike Keras, which forms the product of the two at each call, this multiplies the inputs.
    """

    name = "keras"
    per_head = True

    def build(self, layer: Any, view: LinearView) -> None:
        import keras

        width, rest = divmod(view.out_features, layer.heads)
        if rest:
            expected = f"a divisor of the layer's {view.out_features} outputs"
            raise LoraConfigError("LoRA settings", "heads", layer.heads, expected)
        # Keras's `he_uniform` counts the heads as inputs, too.
        uniform = keras.initializers.VarianceScaling(2 / layer.heads, "fan_in", "uniform", seed=layer.seed)
        layer.a = layer.add_weight(name="a", shape=(view.in_features, layer.heads * layer.rank), initializer=uniform)
        layer.b = layer.add_weight(name="b", shape=(layer.rank, width), initializer="zeros")

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        """The other matrix has a block for each head, all the same."""
        from keras import ops

        blocks = ops.einsum("hk,rd->hrkd", ops.eye(layer.heads, dtype=layer.compute_dtype), layer.b)
        return layer.a, ops.reshape(blocks, (layer.heads * layer.rank, view.out_features))
