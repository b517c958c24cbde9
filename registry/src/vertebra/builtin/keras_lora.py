"""Keras's own LoRA, which factors a kernel with heads on the axis of one head; KerasHub stores it in `.lora.h5`."""

from __future__ import annotations

from typing import Any

from vertebra.errors import LoraConfigError
from vertebra.strategies import LinearView, LoraStrategy


class KerasLora(LoraStrategy):
    """`a` has a matrix for each head, and `b`, of the width of one head, is shared by all heads.

    Initial values are those of `enable_lora` of Keras's layers. For layers with one head, or an unknown number, it is
    plain LoRA. Unlike Keras, which forms the product of `a` and `b` at each call, this applies both to the inputs.
    """

    name = "keras"
    per_head = True

    def build(self, layer: Any, view: LinearView) -> None:
        import keras

        width, rest = divmod(view.out_features, layer.heads)
        if rest:
            expected = f"a divisor of the layer's {view.out_features} outputs"
            raise LoraConfigError("LoRA settings", "heads", layer.heads, expected)
        # Keras's `he_uniform` also counts the heads as inputs.
        uniform = keras.initializers.VarianceScaling(2 / layer.heads, "fan_in", "uniform", seed=layer.seed)
        layer.a = layer.add_weight(name="a", shape=(view.in_features, layer.heads * layer.rank), initializer=uniform)
        layer.b = layer.add_weight(name="b", shape=(layer.rank, width), initializer="zeros")

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        """Returns `a`, and a block-diagonal matrix with `b` as the block of each head."""
        from keras import ops

        blocks = ops.einsum("hk,rd->hrkd", ops.eye(layer.heads, dtype=layer.compute_dtype), layer.b)
        return layer.a, ops.reshape(blocks, (layer.heads * layer.rank, view.out_features))
