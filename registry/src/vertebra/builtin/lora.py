"""Plain LoRA (Hu et al. 2021, arXiv:2106.09685): `y = W x + s · B(A x)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import low_rank
from vertebra.interfaces import LinearView, LoraStrategy
from vertebra.specs import AdapterTensor


class Lora(LoraStrategy):
    """A low-rank path of two matrices."""

    name = "lora"
    peft_fields: ClassVar[Mapping[str, bool] | None] = {}

    def build(self, part: Any, view: LinearView) -> None:
        low_rank.build(part, view)

    def factors(self, part: Any, view: LinearView) -> tuple[Any, Any]:
        return part.a, part.b

    def tensors(self, view: LinearView) -> Mapping[str, AdapterTensor]:
        return low_rank.tensors(view)
