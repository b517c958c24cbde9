"""PiSSA (Meng et al. 2024, arXiv:2404.02948): training starts from the kernel's own largest singular vectors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from vertebra import LinearView, LoraStrategy
from vertebra.errors import LoraConfigError

if TYPE_CHECKING:
    import numpy as np

_EXTRA = 10
"""Columns beyond the rank that the search for singular vectors keeps (Halko et al. 2011, arXiv:0909.4061, 4.2)."""


class Pissa(LoraStrategy):
    """`y = W x + s (A B − A₀ B₀) x`, where `s A₀ B₀` is the rank-`rank` approximation of `W` by singular values.

    The paper subtracts that approximation from the kernel instead, which is equivalent; here the base weights do not
    change. The plain-LoRA export for PEFT has twice the rank. Option `iterations`: the number of refinements of the
    singular vectors.
    """

    name = "pissa"
    options: ClassVar[Mapping[str, Any]] = {"iterations": 4}

    def build(self, layer: Any, view: LinearView) -> None:
        if layer.options["iterations"] < 0:
            raise LoraConfigError("LoRA settings", "iterations", layer.options["iterations"], "an int of at least 0")
        smaller = min(view.in_features, view.out_features)
        if layer.rank > smaller:
            expected = f"at most {smaller}, the smaller side of the kernel: it has no more singular vectors"
            raise LoraConfigError("LoRA settings", "rank", layer.rank, expected)
        start = _Start(layer, view)
        rows, columns = (view.in_features, layer.rank), (layer.rank, view.out_features)
        layer.a = layer.add_weight(name="a", shape=rows, initializer=lambda *_, **__: start.pair[0])
        layer.b = layer.add_weight(name="b", shape=columns, initializer=lambda *_, **__: start.pair[1])
        layer.a0 = layer.add_weight(name="a0", shape=rows, initializer=lambda *_, **__: start.pair[0], trainable=False)
        layer.b0 = layer.add_weight(
            name="b0", shape=columns, initializer=lambda *_, **__: start.pair[1], trainable=False
        )

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        from keras import ops

        return ops.concatenate([layer.a, layer.a0], axis=1), ops.concatenate([layer.b, -layer.b0], axis=0)

    def delta(self, layer: Any, view: LinearView, inputs: Any, outputs: Any) -> Any:
        # Separate products, so that the two are equal to the last bit before training.
        trained, start = (view.up(view.down(inputs, a), b) for a, b in ((layer.a, layer.b), (layer.a0, layer.b0)))
        return (trained - start) * layer.scale


class _Start:
    """The largest singular values and vectors of a kernel, as two matrices; computed once, on first use."""

    def __init__(self, layer: Any, view: LinearView) -> None:
        self._part, self._view = layer, view

    @cached_property
    def pair(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        import keras
        import numpy as np

        kernel, layer = keras.ops.convert_to_numpy(self._view.matrix()), self._part
        u, s, v = _largest(kernel, layer.rank, layer.options["iterations"], layer.seed)
        root = np.sqrt(s / np.float32(layer.scale))
        return u * root, root[:, None] * v


def _largest(kernel: Any, rank: int, iterations: int, seed: int | None) -> tuple[Any, Any, Any]:
    """Returns the truncated singular value decomposition, by a randomised search (Halko et al., algorithm 4.4)."""
    import numpy as np

    width = min(rank + _EXTRA, *kernel.shape)
    draws = np.random.default_rng(seed).standard_normal((kernel.shape[1], width), "float32")
    basis = np.linalg.qr(kernel @ draws)[0]
    for _ in range(iterations):
        basis = np.linalg.qr(kernel @ np.linalg.qr(kernel.T @ basis)[0])[0]
    u, s, v = np.linalg.svd(basis.T @ kernel, full_matrices=False)
    return basis @ u[:, :rank], s[:rank], v[:rank]
