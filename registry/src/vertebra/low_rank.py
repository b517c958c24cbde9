"""The two matrices of LoRA (Hu et al. 2021, arXiv:2106.09685), for strategies that vary what is around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra.interfaces import LinearView
from vertebra.specs import AdapterTensor

__all__ = ["build", "tensors"]


def build(layer: Any, view: LinearView) -> None:
    """Creates `a`, of shape `(in, rank)`, and `b`, of shape `(rank, out)`; their product is zero.

    On kernels `b` is zero, and `a` is uniform in ±1/√in; on embeddings `a` is zero, and `b` is standard normal. Both
    are as in PEFT, so that training starts from the same place.
    """
    import keras

    uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=layer.seed)
    normal = keras.initializers.RandomNormal(stddev=1.0, seed=layer.seed)
    starts = ("zeros", normal) if view.is_lookup else (uniform, "zeros")
    layer.a = layer.add_weight(name="a", shape=(view.in_features, layer.rank), initializer=starts[0])
    layer.b = layer.add_weight(name="b", shape=(layer.rank, view.out_features), initializer=starts[1])


def tensors(view: LinearView) -> Mapping[str, AdapterTensor]:
    """Returns what PEFT calls them."""
    a, b = AdapterTensor("a", ("in", "rank")), AdapterTensor("b", ("rank", "out"))
    if view.is_lookup:
        return {"lora_embedding_A": a, "lora_embedding_B": b}
    return {"lora_A.weight": a, "lora_B.weight": b}
