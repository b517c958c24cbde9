"""The two matrices of LoRA (Hu et al. 2021, arXiv:2106.09685), for strategies that build on plain LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra.specs import AdapterTensor
from vertebra.strategies import LinearView

__all__ = ["build", "tensors"]


def build(layer: Any, view: LinearView) -> None:
    """Creates `a`, of shape `(in, rank)`, and `b`, of shape `(rank, out)`; their product is zero.

    For kernels, `b` is zero and `a` is uniform in ±1/√in; for embeddings, `a` is zero and `b` is standard normal. PEFT
    starts from the same distributions.
    """
    import keras

    uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=layer.seed)
    normal = keras.initializers.RandomNormal(stddev=1.0, seed=layer.seed)
    starts = ("zeros", normal) if view.is_lookup else (uniform, "zeros")
    layer.a = layer.add_weight(name="a", shape=(view.in_features, layer.rank), initializer=starts[0])
    layer.b = layer.add_weight(name="b", shape=(layer.rank, view.out_features), initializer=starts[1])


def tensors(view: LinearView) -> Mapping[str, AdapterTensor]:
    """Returns the names of the two matrices in PEFT's files."""
    a, b = AdapterTensor("a", ("in", "rank")), AdapterTensor("b", ("rank", "out"))
    if view.is_lookup:
        return {"lora_embedding_A": a, "lora_embedding_B": b}
    return {"lora_A.weight": a, "lora_B.weight": b}
