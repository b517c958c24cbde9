"""LoRA+ (Hayou et al. 2024, arXiv:2402.12354): `b` trains at a higher rate than `a`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import AdapterTensor, LinearView, LoraStrategy, low_rank
from vertebra.errors import LoraConfigError


class LoraPlus(LoraStrategy):
    """Plain LoRA with two learning rates, which `vertebra.lora.learning_rates` or `parameter_groups` apply.

    Option `ratio`: the rate of `b` divided by the rate of `a`; the paper's section 5 recommends 16.
    """

    name = "lora_plus"
    options: ClassVar[Mapping[str, Any]] = {"ratio": 16.0}

    def learning_rates(self, options: Mapping[str, Any]) -> Mapping[str, float]:
        return {"b": float(options["ratio"])}

    def build(self, layer: Any, view: LinearView) -> None:
        ratio = layer.options["ratio"]
        if not 0 < ratio < math.inf:
            raise LoraConfigError("LoRA settings", "ratio", ratio, "a finite number above 0")
        low_rank.build(layer, view)

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        return layer.a, layer.b

    def tensors(self, view: LinearView) -> Mapping[str, AdapterTensor]:
        return low_rank.tensors(view)
