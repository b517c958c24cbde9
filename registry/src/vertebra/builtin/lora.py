"""Plain LoRA (Hu et al. 2021, arXiv:2106.09685): `y = W x + s · B(A x)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import low_rank
from vertebra.specs import AdapterTensor
from vertebra.strategies import LinearView, LoraStrategy


class Lora(LoraStrategy):
    """A low-rank path of two matrices."""

    name = "lora"
    peft_fields: ClassVar[Mapping[str, bool] | None] = {}

    def build(self, layer: Any, view: LinearView) -> None:
        low_rank.build(layer, view)

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        return layer.a, layer.b

    def tensors(self, view: LinearView) -> Mapping[str, AdapterTensor]:
        return low_rank.tensors(view)
