"""Builds the layers of a head from its `HeadSpec`, and names the tensors of a checkpoint that fill them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from vertebra import HeadSpec, TensorRule, activations, layers, tasks

OUTPUT = "logits"
"""Name of the last dense layer, as in KerasHub."""
_VOCABULARY = "vocabulary"


def head_of(task: str, backbone: Any, config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head that an architecture's checkpoints have for a task.

    Architectures that declare none get dropout and one dense layer, `classifier`, on the pooled output if there is one.

    Args:
        task: Name of the task.
        backbone: The backbone.
        config: The config of a transformers checkpoint, or an empty dict.
    """
    declared = tasks.declared_head(task, backbone, config)
    if declared is not None:
        return declared
    pooled = isinstance(backbone.output, Mapping) and "pooled_output" in backbone.output
    pooling = "" if task == "TokenClassifier" else "pooled_output" if pooled else "first"
    return HeadSpec(pooling, (HeadSpec.Dropout(0.1), HeadSpec.Dense("classifier")))


class Head:
    """The layers of a head.

    Args:
        spec: The head.
        backbone: The backbone.
        units: The number of outputs.
        activation: Activation of the outputs, or None.
        dropout: Rate of the dropout layers, or None for those that the head declares.
    """

    def __init__(
        self, spec: HeadSpec, backbone: Any, units: int, activation: Any = None, dropout: float | None = None
    ) -> None:
        self.spec, self.backbone = spec, backbone
        self._units, self._activation, self._dropout = units, activation, dropout
        self.layers: list[tuple[Any, Any]] = []
        for number, layer in enumerate(spec.layers):
            self.layers.append((layer, self._layer(layer, number)))

    def _layer(self, layer: Any, number: int) -> Any:
        dtype = self.backbone.dtype_policy
        if isinstance(layer, HeadSpec.Dropout):
            rate = layer.rate if self._dropout is None else self._dropout
            return layers.Dropout(rate, dtype=dtype, name=f"head_dropout_{number}")
        if isinstance(layer, HeadSpec.Norm):
            return keras.layers.LayerNormalization(
                epsilon=layer.epsilon, center=layer.use_bias, dtype=dtype, name=f"head_norm_{number}"
            )
        if isinstance(layer, HeadSpec.Vocabulary):
            if layer.tied:
                return VocabularyBias(dtype=dtype, name=_VOCABULARY)
            return self._dense(self.backbone.token_embedding.input_dim, None, True, _VOCABULARY)
        is_output = layer.width == "outputs"
        activation = self._activation if is_output else layer.activation and activations.activation(layer.activation)
        units = self._units if is_output else self._width(layer.width)
        return self._dense(units, activation, layer.use_bias, OUTPUT if is_output else f"head_dense_{number}")

    def _dense(self, units: int, activation: Any, use_bias: bool, name: str) -> Any:
        initializer = keras.initializers.TruncatedNormal(stddev=getattr(self.backbone, "initializer_range", 0.02))
        return keras.layers.Dense(
            units,
            activation,
            use_bias=use_bias,
            kernel_initializer=initializer,
            dtype=self.backbone.dtype_policy,
            name=name,
        )

    def _width(self, kind: str) -> int:
        """Returns the width of the hidden states, or of the token table."""
        if kind == "embedding":
            return int(self.backbone.token_embedding.output_dim)
        outputs = self.backbone.output
        states = outputs["sequence_output"] if isinstance(outputs, Mapping) else outputs
        return int(states.shape[-1])

    def connect(self, outputs: Any, padding_mask: Any = None) -> Any:
        """Returns the outputs of the head for outputs of the backbone."""
        x = self._pooled(outputs, padding_mask)
        for layer, built in self.layers:
            if isinstance(layer, HeadSpec.Vocabulary) and layer.tied:
                x = built(self.backbone.token_embedding(x, reverse=True))
            else:
                x = built(x)
        return x

    def _pooled(self, outputs: Any, padding_mask: Any) -> Any:
        states = outputs["sequence_output"] if isinstance(outputs, Mapping) else outputs
        if self.spec.pooling == "pooled_output":
            return outputs["pooled_output"]
        if self.spec.pooling == "first":
            return states[:, 0, :]
        if self.spec.pooling == "mean":
            from vertebra_text.layers.pooling import Pooling

            return Pooling("mean", name="head_pooling", dtype=self.backbone.dtype_policy)(states, padding_mask)
        return states

    def weights(self) -> dict[str, Any]:
        """Returns the variables of the head by name: layer, `/` and variable."""
        return {f"{built.name}/{weight.name}": weight for _, built in self.layers for weight in built.trainable_weights}

    def rules(self) -> dict[str, TensorRule]:
        """Returns the tensor of a transformers checkpoint for each variable, by name."""
        rules: dict[str, TensorRule] = {}
        for layer, built in self.layers:
            if isinstance(layer, HeadSpec.Vocabulary):
                rules[f"{built.name}/bias"] = TensorRule(layer.bias if layer.tied else bias_of(layer.matrix))
                rules[f"{built.name}/kernel"] = TensorRule(layer.matrix, transpose=True)
            elif isinstance(layer, HeadSpec.Dense):
                rules[f"{built.name}/kernel"] = TensorRule(f"{layer.module}.weight", transpose=True)
                rules[f"{built.name}/bias"] = TensorRule(f"{layer.module}.bias")
            elif isinstance(layer, HeadSpec.Norm):
                rules[f"{built.name}/gamma"] = TensorRule(f"{layer.module}.weight")
                rules[f"{built.name}/beta"] = TensorRule(f"{layer.module}.bias")
        known = self.weights()
        return {name: rule for name, rule in rules.items() if name in known}


def bias_of(matrix: str) -> str:
    """Returns the name of the bias next to a matrix in a transformers checkpoint, which is used if it is not tied."""
    return f"{matrix.removesuffix('.weight')}.bias"


@keras.saving.register_keras_serializable("vertebra_text")
class VocabularyBias(keras.layers.Layer):
    """Adds a bias for each token to logits."""

    def build(self, shape: Any) -> None:
        self.bias = self.add_weight(name="bias", shape=(shape[-1],), initializer="zeros")

    def call(self, logits: Any) -> Any:
        return logits + ops.cast(self.bias, logits.dtype)

    def compute_output_spec(self, logits: Any) -> Any:
        return keras.KerasTensor(logits.shape, dtype=logits.dtype)
