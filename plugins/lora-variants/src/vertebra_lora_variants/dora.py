"""DoRA (Liu et al. 2024, arXiv:2402.09353): the kernel's columns have a direction, from LoRA, and a trained length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import AdapterTensor, LinearView, LoraStrategy, low_rank

_TINY = 1e-30
"""Replaces the length of a zero column, to avoid a division by zero."""


class Dora(LoraStrategy):
    """`y = m / ‖W + s B A‖ · (W x + s B A x)`, with one length `m` for each output (the paper's equation 5).

    The norm is a constant for the gradient, as the paper's section 4.3 proposes. Dropout applies to `s B A x` only.
    """

    name = "dora"
    peft_fields: ClassVar[Mapping[str, bool] | None] = {"use_dora": True}
    is_low_rank = False

    def build(self, layer: Any, view: LinearView) -> None:
        low_rank.build(layer, view)
        start = lambda *_, **__: _norm(view.matrix())  # noqa: E731 (not called if values are loaded)
        # Not cast to half precision: a rounded length would differ from the norm.
        layer.magnitude = layer.add_weight(
            name="magnitude", shape=(view.out_features,), initializer=start, autocast=False
        )

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        return layer.a, layer.b

    def delta(self, layer: Any, view: LinearView, inputs: Any, outputs: Any) -> Any:
        from keras import ops

        ratio = ops.cast(_ratio(layer, view), outputs.dtype)
        path = view.up(view.down(inputs, layer.a) * layer.scale, layer.b)
        return view.multiply(view.without_bias(outputs), ratio - 1) + view.multiply(path, ratio)

    def kernel_delta(self, layer: Any, view: LinearView) -> Any:
        kernel = view.matrix()
        return (kernel + _product(layer)) * _ratio(layer, view) - kernel

    def tensors(self, view: LinearView) -> Mapping[str, AdapterTensor]:
        vector = "lora_magnitude_vector"
        return {**low_rank.tensors(view), vector: AdapterTensor("magnitude", ("out",))}


class RsDora(Dora):
    """DoRA with the scale of rsLoRA, `alpha / √rank` (Kalajdzievski 2023, arXiv:2312.03732), as PEFT combines them."""

    name = "rsdora"
    peft_fields: ClassVar[Mapping[str, bool] | None] = {"use_dora": True, "use_rslora": True}

    def scale(self, rank: int, alpha: float) -> float:
        return float(alpha / rank**0.5)


def _ratio(layer: Any, view: LinearView) -> Any:
    from keras import ops

    norm = ops.stop_gradient(_norm(view.matrix() + _product(layer)))
    return ops.cast(layer.magnitude, "float32") / ops.maximum(norm, _TINY)


def _product(layer: Any) -> Any:
    from keras import ops

    return ops.cast(ops.matmul(layer.a, layer.b), "float32") * layer.scale


def _norm(matrix: Any) -> Any:
    from keras import ops

    # A kernel may be in column-major order, as a view of another library's file; its sums must have the same bits.
    by_rows = ops.reshape(ops.reshape(matrix, (-1,)), matrix.shape)
    return ops.sqrt(ops.sum(ops.square(by_rows), axis=0))
