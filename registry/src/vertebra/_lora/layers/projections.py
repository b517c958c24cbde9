"""Tied projections: embeddings whose table also projects hidden states to logits, `embedding(x, reverse=True)`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from vertebra._lora.plan import AdapterPlan
from vertebra._system.log import log


def is_projection(layer: Any) -> bool:
    """Returns whether a layer's table is also the output projection, as in `keras.layers.ReversibleEmbedding`."""
    if not isinstance(layer, keras.layers.Embedding) or not getattr(layer, "tie_weights", True):
        return False
    return "reverse" in inspect.signature(type(layer).call).parameters


def untouched_projections(plan: AdapterPlan, layers: Mapping[str, Any]) -> list[str]:
    """Returns the adapted tables to whose projection the adapter does not apply, so that merging changes it.

    Args:
        plan: The adapter's plan.
        layers: The model's layers, by path.
    """
    return [] if plan.tied else tied_projections(plan, layers)


def tied_projections(plan: AdapterPlan, layers: Mapping[str, Any]) -> list[str]:
    """Returns the adapted tables that are also projections."""
    return [path for path in plan.layers if path in layers and is_projection(layers[path])]


def normalize_tied(plan: AdapterPlan, layers: Mapping[str, Any]) -> AdapterPlan:
    """Returns the plan with `tied=True` if it adapts no tied table.

    Without such a table `tied` has no effect, so plans of PEFT's adapters and of adapters trained here compare equal.
    """
    return replace(plan, tied=plan.tied or not tied_projections(plan, layers))


def warn_written(paths: list[str]) -> None:
    """Warns that PEFT does not apply the adapter to tied projections."""
    if paths:
        log.warning(
            "The adapter of %s also applies where the table projects to logits. PEFT applies it only where the table "
            "is looked up, until it is merged: logits differ there.",
            ", ".join(paths),
        )


def warn_saved(path: str) -> None:
    """Warns that a weights file changes the outputs of a tied projection in a model without the adapter."""
    log.warning(
        "The adapter applies where %s is looked up and not where it projects to logits, as in PEFT. Keras's weights "
        "file has the table with the adapter merged: in a model that loads it without the adapter, logits of "
        "reverse=True change by the adapter.",
        path,
    )


def warn_merged(paths: list[str]) -> None:
    """Warns that merging changes the outputs of tied projections."""
    if paths:
        log.warning(
            "The adapter applies where %s is looked up and not where it projects to logits, as in PEFT. "
            "Merged, the table has one value for both: logits of reverse=True change by the adapter.",
            ", ".join(paths),
        )
