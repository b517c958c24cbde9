"""VeRA (Kopiczko et al. 2023, arXiv:2310.11454): random matrices shared by all layers, trained vectors for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from vertebra import LinearView, LoraStrategy
from vertebra.errors import LoraConfigError


class Vera(LoraStrategy):
    """`y = W x + s Λ_b B Λ_d A x` (the paper's equation 2); smaller layers use the first rows and columns.

    The paper has no `s`: without `alpha` it is 1. Option `d_initial`: initial value of `d`, the rank-side vector, as in
    the paper's section 3.2.
    """

    name = "vera"
    options: ClassVar[Mapping[str, Any]] = {"d_initial": 0.1}

    def share(self, shared: Any, views: Sequence[LinearView], rank: int, seed: int | None) -> bool:
        import keras

        rows, columns = max(view.in_features for view in views), max(view.out_features for view in views)
        # Two initialisers: reusing one would draw the same numbers twice.
        starts = [keras.initializers.HeUniform(seed=None if seed is None else (seed + i) % 2**31) for i in range(2)]
        shared.a = shared.add_weight(name="a", shape=(rows, rank), initializer=starts[0], trainable=False)
        shared.b = shared.add_weight(name="b", shape=(rank, columns), initializer=starts[1], trainable=False)
        return True

    def build(self, layer: Any, view: LinearView) -> None:
        import keras

        start = layer.options["d_initial"]
        if not math.isfinite(start) or start == 0:
            raise LoraConfigError("LoRA settings", "d_initial", start, "a finite number other than 0")
        constant = keras.initializers.Constant(start)
        layer.d = layer.add_weight(name="d", shape=(layer.rank,), initializer=constant)
        layer.b = layer.add_weight(name="b", shape=(view.out_features,), initializer="zeros")

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        a = layer.shared.a[: view.in_features, : layer.rank]
        b = layer.shared.b[: layer.rank, : view.out_features]
        return a * layer.d, b * layer.b
