"""Tied projections: embeddings whose table also projects hidden states to logits, `embedding(x, reverse=True)`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from vertebra._lora.plan import AdapterPlan

log = logging.getLogger("vertebra")


def is_projection(layer: Any) -> bool:
    """Says whether a layer's table is the output projection, too, as that of `keras.layers.ReversibleEmbedding`."""
    if not isinstance(layer, keras.layers.Embedding) or not getattr(layer, "tie_weights", True):
        return False
    return "reverse" in inspect.signature(type(layer).call).parameters


def untouched_projections(plan: AdapterPlan, layers: Mapping[str, Any]) -> list[str]:
    """Returns the adapted tables whose projection the adapter leaves as it is, so that merging changes it.

    Args:
        plan: The adapter's plan.
        layers: The model's layers, by path.
    """
    return [] if plan.tied else tied_projections(plan, layers)


def tied_projections(plan: AdapterPlan, layers: Mapping[str, Any]) -> list[str]:
    """Returns the adapted tables that are projections, too."""
    return [path for path in plan.layers if path in layers and is_projection(layers[path])]


def normalize_tied(plan: AdapterPlan, layers: Mapping[str, Any]) -> AdapterPlan:
    """Returns a plan that is the same however it was read, if it adapts no table that is a projection, too.

    Without such a table, an adapter as PEFT reads it and one that was trained here compute the same.
    """
    return replace(plan, tied=plan.tied or not tied_projections(plan, layers))


def warn_written(paths: list[str]) -> None:
    """Says that PEFT reads an adapter otherwise than it acts here."""
    if paths:
        log.warning(
            "The adapter of %s acts where the table projects to logits, too. PEFT applies it where the table is "
            "looked up alone, until it is merged: logits differ there.",
            ", ".join(paths),
        )


def warn_saved(path: str) -> None:
    """Says that a weights file changes what a tied projection computes, in a model without the adapter."""
    log.warning(
        "The adapter acts where %s is looked up and not where it projects to logits, as PEFT reads it. Keras's weights "
        "file has the table with the adapter merged: in a model that loads it without the adapter, logits of "
        "reverse=True change by the adapter.",
        path,
    )


def warn_merged(paths: list[str]) -> None:
    """Says that merging changes what tied projections compute."""
    if paths:
        log.warning(
            "The adapter acts where %s is looked up and not where it projects to logits, as PEFT reads it. "
            "Merged, the table has one value for both: logits of reverse=True change by the adapter.",
            ", ".join(paths),
        )
