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

    def build(self, part: Any, view: LinearView) -> None:
        import keras

        width, rest = divmod(view.out_features, part.heads)
        if rest:
            expected = f"a divisor of the layer's {view.out_features} outputs"
            raise LoraConfigError("LoRA settings", "heads", part.heads, expected)
        # Keras's `he_uniform` counts the heads as inputs, too.
        uniform = keras.initializers.VarianceScaling(2 / part.heads, "fan_in", "uniform", seed=part.seed)
        part.a = part.add_weight(name="a", shape=(view.in_features, part.heads * part.rank), initializer=uniform)
        part.b = part.add_weight(name="b", shape=(part.rank, width), initializer="zeros")

    def factors(self, part: Any, view: LinearView) -> tuple[Any, Any]:
        """The other matrix has a block for each head, all the same."""
        from keras import ops

        blocks = ops.einsum("hk,rd->hrkd", ops.eye(part.heads, dtype=part.compute_dtype), part.b)
        return part.a, ops.reshape(blocks, (part.heads * part.rank, view.out_features))
