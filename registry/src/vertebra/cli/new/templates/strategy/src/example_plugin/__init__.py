"""A LoRA strategy. This module must import no framework: methods import Keras themselves."""

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import LinearView, LoraStrategy, hookimpl


class ExamplePlugin(LoraStrategy):
    """LoRA whose first matrix starts with orthogonal columns, and whose two matrices learn at their own rates."""

    name = "example_name"
    options: ClassVar[Mapping[str, Any]] = {"gain": 1.0, "ratio": 1.0}  # enable_lora(8, strategy=…, ratio=16.0)

    def build(self, layer: Any, view: LinearView) -> None:
        """Creates the variables of one layer; their initial values must not change its outputs."""
        import keras

        start = keras.initializers.Orthogonal(layer.options["gain"], seed=layer.seed)
        layer.a = layer.add_weight(name="a", shape=(view.in_features, layer.rank), initializer=start)
        layer.b = layer.add_weight(name="b", shape=(layer.rank, view.out_features), initializer="zeros")

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        """Returns the two matrices whose product, scaled by alpha / rank, is the change of the kernel."""
        return layer.a, layer.b

    def learning_rates(self, options: Mapping[str, Any]) -> Mapping[str, float]:
        return {"b": options["ratio"]}


@hookimpl
def vertebra_lora_strategies() -> list[LoraStrategy]:
    return [ExamplePlugin()]
