"""The task: a head on the hidden states of any backbone."""

from __future__ import annotations

from typing import Any

import keras
from vertebra_text import Task


@keras.saving.register_keras_serializable("example_plugin")
class ExamplePlugin(Task):
    """Scores texts with a number from 0 to 1; `fit(texts, [0, 1, ...])` trains it.

    Args:
        backbone: A backbone whose outputs have `sequence_output`.
        preprocessor: A tokenizer, or None for a model of token ids.
        hidden_dim: Width of the head's hidden layer.
        **kwargs: The arguments of every `vertebra_text.Task`.
    """

    def __init__(self, backbone: Any, preprocessor: Any = None, hidden_dim: int = 64, **kwargs: Any) -> None:
        states = backbone(backbone.input)["sequence_output"]
        pooling = keras.layers.GlobalAveragePooling1D(name="pooling")
        hidden = keras.layers.Dense(hidden_dim, "tanh", name="hidden")
        score = keras.layers.Dense(1, "sigmoid", name="score")
        outputs = score(hidden(pooling(states, mask=backbone.input["padding_mask"])))
        super().__init__(backbone, outputs, preprocessor, arguments={"hidden_dim": hidden_dim}, **kwargs)

    def head_weights(self) -> dict[str, Any]:
        """Returns what a preset of the task holds besides the backbone, by name."""
        layers = (self.get_layer(name) for name in ("hidden", "score"))
        return {f"{layer.name}/{weight.name}": weight for layer in layers for weight in layer.weights}

    def default_loss(self) -> Any:
        return keras.losses.BinaryCrossentropy()
