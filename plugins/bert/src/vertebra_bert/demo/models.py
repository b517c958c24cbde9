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

    An embedding is the mean of the sentence's tokens, of length 1: products of embeddings are cosines.
    """
    tokens = backbone.output["sequence_output"]
    mean = keras.layers.GlobalAveragePooling1D()(tokens, mask=backbone.input["padding_mask"])
    return keras.Model(backbone.input, {**backbone.output, EMBEDDING: keras.layers.UnitNormalization()(mean)})


def compiled(model: Any) -> Callable[[Arrays], Arrays]:
    """Returns a fast function from a model's inputs to its outputs, as arrays."""
    forward = vertebra.compile(model)

    def compute(inputs: Arrays) -> Arrays:
        return {name: keras.ops.convert_to_numpy(value) for name, value in forward(inputs).items()}

    return compute


def linear_head(width: int) -> Any:
    """Returns the classifier of an embedding: how probable it is that the sentence is a happy one."""
    # An embedding's values are small, since its length is 1; scaled, they soon move a new head.
    layers = [keras.layers.Rescaling(4.0), keras.layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([keras.Input((width,)), *layers])


def classifier(sentences: Any) -> Any:
    """Returns a model from a backbone's inputs to the probability that a new linear head gives."""
    embedding = sentences.output[EMBEDDING]
    return keras.Model(sentences.input, linear_head(embedding.shape[-1])(embedding))
