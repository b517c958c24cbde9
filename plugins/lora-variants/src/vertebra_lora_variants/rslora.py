"""rsLoRA (Kalajdzievski 2023, arXiv:2312.03732): the path is scaled by `alpha / √rank`, so that high ranks train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import AdapterTensor, LinearView, LoraStrategy, low_rank


class RsLora(LoraStrategy):
    """Plain LoRA with the scale of the paper's theorem 3.2."""

    name = "rslora"
    peft_fields: ClassVar[Mapping[str, bool] | None] = {"use_rslora": True}

    def scale(self, rank: int, alpha: float) -> float:
        return float(alpha / rank**0.5)

    def build(self, layer: Any, view: LinearView) -> None:
        low_rank.build(layer, view)

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        return layer.a, layer.b

    def tensors(self, view: LinearView) -> Mapping[str, AdapterTensor]:
        return low_rank.tensors(view)
