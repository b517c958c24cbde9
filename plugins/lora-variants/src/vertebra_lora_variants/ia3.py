"""IA3 (Liu et al. 2022, arXiv:2205.05638, section 3.3): activations are multiplied by a trained vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import AdapterTensor, LinearView, LoraStrategy, PeftMethod
from vertebra.errors import LoraConfigError


class IA3(LoraStrategy):
    """`y = l ⊙ (W x + b)`, or `y = W (l ⊙ x) + b` for a feed-forward layer, with one vector `l` for each layer.

    The paper multiplies keys, values, and the hidden activations of the feed-forward network, which are the inputs of
    its second layer. Option `feedforward`: whether the vector multiplies the inputs, such as
    `feedforward={"mlp.down": True}`. The vector is a row or a column, `(1, out)` or `(in, 1)`, and starts at 1.
    """

    name = "ia3"
    options: ClassVar[Mapping[str, Any]] = {"feedforward": False}
    settings: ClassVar[tuple[str, ...]] = ()
    is_low_rank = False
    is_additive = False
    peft_method = PeftMethod(
        "IA3", "ia3_", ("linear", "reversed"), without_effect=("feedforward_modules", "init_ia3_weights")
    )

    def scale(self, rank: int, alpha: float) -> float:
        return 1.0

    def build(self, layer: Any, view: LinearView) -> None:
        feedforward = layer.options["feedforward"]
        if feedforward and (view.is_lookup or view.is_convolution):
            expected = "false for lookups and convolutions, whose inputs are not one activation for each row"
            raise LoraConfigError("LoRA settings", "feedforward", feedforward, expected)
        shape = (view.in_features, 1) if feedforward else (1, view.out_features)
        layer.vector = layer.add_weight(name="vector", shape=shape, initializer="ones")

    def delta(self, layer: Any, view: LinearView, inputs: Any, outputs: Any) -> Any:
        from keras import ops

        if layer.options["feedforward"]:
            return super().delta(layer, view, inputs, outputs)
        return view.multiply(outputs, ops.cast(layer.vector[0] - 1, outputs.dtype))

    def kernel_delta(self, layer: Any, view: LinearView) -> Any:
        from keras import ops

        return view.matrix() * (ops.cast(layer.vector, "float32") - 1)

    def bias_delta(self, layer: Any, view: LinearView) -> Any:
        from keras import ops

        bias = view.bias()
        if bias is None or layer.options["feedforward"]:
            return None
        return bias * (ops.cast(layer.vector[0], "float32") - 1)

    def tensors_of(self, view: LinearView, rank: int, options: Mapping[str, Any]) -> Mapping[str, AdapterTensor]:
        return {"ia3_l": AdapterTensor("vector", ("in", 1) if options["feedforward"] else (1, "out"))}

    def peft_layer(
        self, view: LinearView, rank: int, options: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
    ) -> tuple[int, Mapping[str, Any]]:
        """Returns `feedforward`: PEFT's tensor is `(1, in)` or `(out, 1)`."""
        return rank, {"feedforward": shapes.get("ia3_l", ())[:1] == (1,)}

    def peft_config(self, modules: Mapping[str, tuple[LinearView, int, Mapping[str, Any]]]) -> Mapping[str, Any]:
        feedforward = [name for name, (_, _, options) in modules.items() if options["feedforward"]]
        return {"feedforward_modules": sorted(feedforward)}
