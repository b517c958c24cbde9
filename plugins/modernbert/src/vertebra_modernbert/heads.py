"""The heads of ModernBERT's checkpoints, as transformers has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import HeadSpec, activations


def text_classifier(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `ModernBertForSequenceClassification`."""
    pooling = "mean" if config.get("classifier_pooling") == "mean" else "first"
    return HeadSpec(pooling, (*_prediction(arguments, config), _dropout(config), HeadSpec.Dense("classifier")))


def token_classifier(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `ModernBertForTokenClassification`."""
    return HeadSpec("", (*_prediction(arguments, config), _dropout(config), HeadSpec.Dense("classifier")))


def masked_lm(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `ModernBertForMaskedLM`."""
    vocabulary = HeadSpec.Vocabulary("decoder.bias", "decoder.weight")
    return HeadSpec("", (*_prediction(arguments, config), vocabulary))


def _prediction(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns the layers that all heads begin with."""
    activation = activations.TRANSFORMERS[config.get("classifier_activation") or "gelu"]
    hidden = HeadSpec.Dense("head.dense", "hidden", activation, bool(config.get("classifier_bias")))
    return hidden, HeadSpec.Norm("head.norm", arguments["layer_norm_epsilon"], bool(config.get("norm_bias")))


def _dropout(config: Mapping[str, Any]) -> Any:
    return HeadSpec.Dropout(float(config.get("classifier_dropout") or 0.0))
