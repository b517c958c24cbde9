"""Plain LoRA (Hu et al. 2021, arXiv:2106.09685): `y = W x + s · B(A x)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra.interfaces import LoraSite, LoraStrategy
from vertebra.specs import LoraConfig


class Lora(LoraStrategy):
    """A low-rank path of two matrices, `a` of shape `(in, rank)` and `b` of shape `(rank, out)`.

    One of them starts at zero. On kernels that is `b`, and `a` is uniform in ±1/√in; on embeddings that is `a`, and
    `b` is standard normal. Both are as in PEFT, so that training starts from the same place.
    """

    name = "lora"
    peft_fields: ClassVar[Mapping[str, bool] | None] = {}

    def build(self, adapter: Any, site: LoraSite, config: LoraConfig) -> None:
        import keras

        uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=config.seed)
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=config.seed)
        starts = ("zeros", normal) if site.is_lookup else (uniform, "zeros")
        adapter.a = adapter.add_weight(name="a", shape=(site.in_features, config.rank), initializer=starts[0])
        adapter.b = adapter.add_weight(name="b", shape=(config.rank, site.out_features), initializer=starts[1])
        if config.dropout and not site.is_lookup:
            adapter.dropout = keras.layers.Dropout(config.dropout, seed=config.seed, dtype=adapter.dtype_policy)

    def delta(self, adapter: Any, site: LoraSite, config: LoraConfig, inputs: Any, training: bool) -> Any:
        if training and config.dropout and not site.is_lookup:
            inputs = adapter.dropout(inputs, training=True)
        outputs = site.up(site.down(inputs, adapter.a), adapter.b)
        return outputs if config.scale == 1 else outputs * config.scale

    def tensors(self, site: LoraSite) -> Mapping[str, str]:
        if site.is_lookup:
            return {"lora_embedding_A": "a", "lora_embedding_B": "b"}
        return {"lora_A.weight": "a", "lora_B.weight": "b"}
