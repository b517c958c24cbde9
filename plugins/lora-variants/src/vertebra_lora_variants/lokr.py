"""LoKr (Yeh et al. 2023, LyCORIS, arXiv:2309.14859): the change is a Kronecker product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import AdapterTensor, LinearView, LoraStrategy, PeftMethod
from vertebra.errors import LoraConfigError
from vertebra_lora_variants import output_dropout

_INITIAL_ZEROS = ("w1", "w1_a")


class LoKr(LoraStrategy):
    """`ΔW = s · W₁ ⊗ W₂`, where `W₂`, the larger one, is a product of inner dimension `rank` if that is smaller.

    The kernel is `(m n, l k)`, `W₁` is `(m, l)` and `W₂` is `(n, k)`. Options:

    - `decompose_factor`: `m` and `l` are this number where it divides the dimension, else the largest divisor up to it
      and up to the square root; -1 is no limit.
    - `decompose_both`: whether `W₁`, too, is such a product.
    - `rank_dropout` and `module_dropout`, as in PEFT; `rank_dropout_scale`: whether to divide by the share of outputs
      that is left.
    """

    name = "lokr"
    options: ClassVar[Mapping[str, Any]] = {
        "decompose_both": False, "decompose_factor": -1, "rank_dropout_scale": False, **output_dropout.OPTIONS,
    }  # fmt: skip
    is_low_rank = False
    peft_method = PeftMethod(
        "LOKR", "lokr_", ("linear",), rank="r", alpha="alpha", options=tuple(options),
        without_effect=("init_weights", "use_effective_conv2d"),
    )  # fmt: skip

    def build(self, layer: Any, view: LinearView) -> None:
        import keras

        output_dropout.add(layer)
        if layer.options["decompose_factor"] < 1 and layer.options["decompose_factor"] != -1:
            expected = "an int of at least 1, or -1 for no limit"
            raise LoraConfigError("LoRA settings", "decompose_factor", layer.options["decompose_factor"], expected)
        for number, (name, shape) in enumerate(_shapes(view, layer.rank, layer.options).items()):
            seed = None if layer.seed is None else (layer.seed + number) % 2**31
            uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
            start = "zeros" if name in _INITIAL_ZEROS else uniform
            setattr(layer, name, layer.add_weight(name=name, shape=shape, initializer=start))

    def delta(self, layer: Any, view: LinearView, inputs: Any, outputs: Any) -> Any:
        change = super().delta(layer, view, inputs, outputs)
        return output_dropout.apply(layer, view, change, rescaled=layer.options["rank_dropout_scale"])

    def kernel_delta(self, layer: Any, view: LinearView) -> Any:
        from keras import ops

        product = ops.einsum("ml,nk->mnlk", _matrix(layer, "w1"), _matrix(layer, "w2"))
        return ops.reshape(product, (view.in_features, view.out_features)) * layer.scale

    def tensors_of(self, view: LinearView, rank: int, options: Mapping[str, Any]) -> Mapping[str, AdapterTensor]:
        return {f"lokr_{name}": AdapterTensor(name, shape) for name, shape in _shapes(view, rank, options).items()}


def _shapes(view: LinearView, rank: int, options: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Returns the shape of each variable by name; `w2_b · w2_a` takes the place of `w2`."""
    (m, n), (l, k) = (  # noqa: E741 (the letters of the class's formula)
        _split(size, options["decompose_factor"]) for size in (view.in_features, view.out_features)
    )
    shapes: dict[str, tuple[int, int]] = {}
    for name, rows, columns, may_decompose in (("w1", m, l, options["decompose_both"]), ("w2", n, k, True)):
        if may_decompose and rank < max(rows, columns) / 2:
            shapes |= {f"{name}_a": (rank, columns), f"{name}_b": (rows, rank)}
        else:
            shapes[name] = (rows, columns)
    return shapes


def _split(size: int, factor: int) -> tuple[int, int]:
    """Returns two factors of a dimension, as LyCORIS chooses them."""
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    most = size if factor == -1 else factor
    first = max(part for part in range(1, min(int(size**0.5), most) + 1) if size % part == 0)
    return first, size // first


def _matrix(layer: Any, name: str) -> Any:
    from keras import ops

    whole = getattr(layer, name, None)
    return ops.matmul(getattr(layer, f"{name}_b"), getattr(layer, f"{name}_a")) if whole is None else whole
