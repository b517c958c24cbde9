"""LoHa (Hyeon-Woo et al. 2021, FedPara, arXiv:2108.06098): the change is an elementwise product of two products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import AdapterTensor, LinearView, LoraStrategy, PeftMethod
from vertebra_lora_variants import output_dropout


class LoHa(LoraStrategy):
    """`ΔW = s (B₁ A₁) ⊙ (B₂ A₂)`, of rank up to `rank²` (the paper's proposition 1).

    With all pairs of the columns of `B₁` and `B₂`, and of the rows of `A₁` and `A₂`, it is a product of two matrices of
    inner dimension `rank²`. Options: `rank_dropout` and `module_dropout`, as in LyCORIS and PEFT.
    """

    name = "loha"
    options: ClassVar[Mapping[str, Any]] = output_dropout.OPTIONS
    peft_method = PeftMethod(
        "LOHA", "hada_", ("linear",), rank="r", alpha="alpha", options=tuple(output_dropout.OPTIONS),
        without_effect=("init_weights", "use_effective_conv2d"),
    )  # fmt: skip

    def build(self, layer: Any, view: LinearView) -> None:
        import keras

        output_dropout.add(layer)
        down, up = (view.in_features, layer.rank), (layer.rank, view.out_features)
        for number, (name, shape) in enumerate([("w1_b", down), ("w1_a", up), ("w2_a", up)]):
            seed = None if layer.seed is None else (layer.seed + number) % 2**31
            start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
            setattr(layer, name, layer.add_weight(name=name, shape=shape, initializer=start))
        layer.w2_b = layer.add_weight(name="w2_b", shape=down, initializer="zeros")

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        from keras import ops

        pairs = layer.rank**2
        a = ops.einsum("ir,is->irs", layer.w1_b, layer.w2_b)
        b = ops.einsum("ro,so->rso", layer.w1_a, layer.w2_a)
        return ops.reshape(a, (view.in_features, pairs)), ops.reshape(b, (pairs, view.out_features))

    def delta(self, layer: Any, view: LinearView, inputs: Any, outputs: Any) -> Any:
        if layer.rank**2 * (view.in_features + view.out_features) < view.in_features * view.out_features:
            change = super().delta(layer, view, inputs, outputs)
        else:
            from keras import ops

            change = view.apply(inputs, ops.cast(self.kernel_delta(layer, view), outputs.dtype))
        return output_dropout.apply(layer, view, change, rescaled=True)

    def kernel_delta(self, layer: Any, view: LinearView) -> Any:
        from keras import ops

        return ops.matmul(layer.w1_b, layer.w1_a) * ops.matmul(layer.w2_b, layer.w2_a) * layer.scale

    def tensors(self, view: LinearView) -> Mapping[str, AdapterTensor]:
        axes = {"a": ("rank", "out"), "b": ("in", "rank")}
        names = [(number, side) for number in (1, 2) for side in axes]
        return {f"hada_w{number}_{side}": AdapterTensor(f"w{number}_{side}", axes[side]) for number, side in names}
