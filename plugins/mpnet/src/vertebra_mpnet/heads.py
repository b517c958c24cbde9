"""The heads of MPNet's checkpoints, as transformers has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import HeadSpec


def text_classifier(arguments: Mapping[str, Any], _config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `MPNetForSequenceClassification`."""
    rate = float(arguments["dropout"])
    hidden = HeadSpec.Dense("classifier.dense", "hidden", "tanh")
    output = HeadSpec.Dense("classifier.out_proj")
    return HeadSpec("first", (HeadSpec.Dropout(rate), hidden, HeadSpec.Dropout(rate), output))


def token_classifier(arguments: Mapping[str, Any], _config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `MPNetForTokenClassification`."""
    return HeadSpec("", (HeadSpec.Dropout(float(arguments["dropout"])), HeadSpec.Dense("classifier")))


def masked_lm(arguments: Mapping[str, Any], _config: Mapping[str, Any]) -> HeadSpec:
    """Returns the head of `MPNetForMaskedLM`."""
    hidden = HeadSpec.Dense("lm_head.dense", "hidden", "gelu")
    norm = HeadSpec.Norm("lm_head.layer_norm", arguments["layer_norm_epsilon"])
    return HeadSpec("", (hidden, norm, HeadSpec.Vocabulary("lm_head.bias", "lm_head.decoder.weight")))
