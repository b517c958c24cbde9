"""The heads of BERT's checkpoints, as transformers has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import HeadSpec


def text_classifier(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `BertForSequenceClassification`."""
    return HeadSpec("pooled_output", (HeadSpec.Dropout(_rate(arguments, config)), HeadSpec.Dense("classifier")))


def token_classifier(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `BertForTokenClassification`."""
    return HeadSpec("", (HeadSpec.Dropout(_rate(arguments, config)), HeadSpec.Dense("classifier")))


def masked_lm(arguments: Mapping[str, Any], _config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `BertForMaskedLM`."""
    transform = "cls.predictions.transform"
    return HeadSpec(
        "",
        (
            HeadSpec.Dense(f"{transform}.dense", "hidden", arguments["activation"]),
            HeadSpec.Norm(f"{transform}.LayerNorm", arguments["layer_norm_epsilon"]),
            HeadSpec.Vocabulary("cls.predictions.bias", "cls.predictions.decoder.weight"),
        ),
    )


def electra_text_classifier(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `ElectraForSequenceClassification`."""
    rate = _rate(arguments, config)
    hidden = HeadSpec.Dense("classifier.dense", "hidden", "gelu")
    output = HeadSpec.Dense("classifier.out_proj")
    return HeadSpec("first", (HeadSpec.Dropout(rate), hidden, HeadSpec.Dropout(rate), output))


def electra_token_classifier(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `ElectraForTokenClassification`."""
    return token_classifier(arguments, config)


def electra_masked_lm(arguments: Mapping[str, Any], _config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `ElectraForMaskedLM`, the generator's."""
    hidden = HeadSpec.Dense("generator_predictions.dense", "embedding", "gelu")
    norm = HeadSpec.Norm("generator_predictions.LayerNorm", arguments["layer_norm_epsilon"])
    return HeadSpec("", (hidden, norm, HeadSpec.Vocabulary("generator_lm_head.bias", "generator_lm_head.weight")))


def _rate(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> float:
    rate = config.get("classifier_dropout")
    return float(arguments["dropout"] if rate is None else rate)
