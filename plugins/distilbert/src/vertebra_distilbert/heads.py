"""The heads of DistilBERT's checkpoints, as transformers has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import HeadSpec

_EPSILON = 1e-12
"""Of transformers' layer normalisation before the vocabulary, whatever the config says."""


def text_classifier(_arguments: Mapping[str, Any], config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `DistilBertForSequenceClassification`."""
    hidden = HeadSpec.Dense("pre_classifier", "hidden", "relu")
    rate = config.get("seq_classif_dropout")
    return HeadSpec(
        "first", (hidden, HeadSpec.Dropout(0.2 if rate is None else float(rate)), HeadSpec.Dense("classifier"))
    )


def token_classifier(arguments: Mapping[str, Any], _config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `DistilBertForTokenClassification`."""
    return HeadSpec("", (HeadSpec.Dropout(float(arguments["dropout"])), HeadSpec.Dense("classifier")))


def masked_lm(arguments: Mapping[str, Any], _config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `DistilBertForMaskedLM`."""
    hidden = HeadSpec.Dense("vocab_transform", "hidden", arguments["activation"])
    norm = HeadSpec.Norm("vocab_layer_norm", _EPSILON)
    return HeadSpec("", (hidden, norm, HeadSpec.Vocabulary("vocab_projector.bias", "vocab_projector.weight")))
