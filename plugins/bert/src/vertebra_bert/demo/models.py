"""The Keras models that the demo builds on a backbone; importing this imports Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

import vertebra
from vertebra_bert.demo.tokens import Arrays

EMBEDDING = "sentence_embedding"


def sentence_model(backbone: Any) -> Any:
    """Returns a model with the backbone's outputs, and the embedding of each sentence.

    An embedding is the mean of the hidden states of the sentence's tokens, scaled to length 1: so the dot products of
    embeddings are cosines.
    """
    tokens = backbone.output["sequence_output"]
    mean = keras.layers.GlobalAveragePooling1D()(tokens, mask=backbone.input["padding_mask"])
    return keras.Model(backbone.input, {**backbone.output, EMBEDDING: keras.layers.UnitNormalization()(mean)})


def compiled(model: Any) -> Callable[[Arrays], Arrays]:
    """Returns the compiled forward pass of a model; its outputs are NumPy arrays."""
    forward = vertebra.compile(model)

    def compute(inputs: Arrays) -> Arrays:
        return {name: keras.ops.convert_to_numpy(value) for name, value in forward(inputs).items()}

    return compute


def linear_head(width: int) -> Any:
    """Returns a classifier of embeddings; its output is the probability that the speaker is happy."""
    # The values of an embedding of length 1 are small; scaled up, they train a new head faster.
    layers = [keras.layers.Rescaling(4.0), keras.layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([keras.Input((width,)), *layers])
