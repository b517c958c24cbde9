"""Keras's own LoRA, which factors a kernel with heads on the axis of one head; KerasHub's `.lora.h5` files hold it."""

from __future__ import annotations

from typing import Any

from vertebra import LoraSite, LoraStrategy


class KerasLora(LoraStrategy):
    """`a` has a matrix for each head, and `b`, of the width of one head, is the same for all of them.

    Starts are those of `keras.layers.EinsumDense.enable_lora`. Where a layer has one head, or nobody says how many, it
    is plain LoRA. The product is never formed, as it is in Keras.
    """

    name = "keras"
    per_head = True

    def build(self, part: Any, site: LoraSite) -> None:
        import keras

        columns, width = part.heads * part.rank, site.out_features // part.heads
        start = "zeros" if site.is_lookup else keras.initializers.HeUniform(seed=part.seed)
        other = keras.initializers.HeUniform(seed=part.seed) if site.is_lookup else "zeros"
        part.a = part.add_weight(name="a", shape=(site.in_features, columns), initializer=start)
        part.b = part.add_weight(name="b", shape=(part.rank, width), initializer=other)

    def factors(self, part: Any, site: LoraSite) -> tuple[Any, Any]:
        """The other matrix has a block for each head, all the same."""
        from keras import ops

        blocks = ops.einsum("hk,rd->hrkd", ops.eye(part.heads, dtype=part.compute_dtype), part.b)
        return part.a, ops.reshape(blocks, (part.heads * part.rank, site.out_features))
