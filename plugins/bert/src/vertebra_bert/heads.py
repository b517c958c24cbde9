"""The heads of BERT's checkpoints, as transformers has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra.heads import Dense, Dropout, HeadSpec, Norm, Vocabulary


def text_classifier(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `BertForSequenceClassification`."""
    return HeadSpec("pooled_output", (Dropout(_rate(arguments, config)), Dense("classifier")))


def token_classifier(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `BertForTokenClassification`."""
    return HeadSpec("", (Dropout(_rate(arguments, config)), Dense("classifier")))


def masked_lm(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `BertForMaskedLM`."""
    transform = "cls.predictions.transform"
    return HeadSpec(
        "",
        (
            Dense(f"{transform}.dense", "hidden", arguments["activation"]),
            Norm(f"{transform}.LayerNorm", arguments["layer_norm_epsilon"]),
            Vocabulary("cls.predictions.bias", "cls.predictions.decoder.weight"),
        ),
    )


def _rate(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> float:
    rate = config.get("classifier_dropout")
    return float(arguments["dropout"] if rate is None else rate)
