"""The demo of BERT: load real weights, compare texts, fine-tune with LoRA, and continue on another runtime."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import vertebra

if TYPE_CHECKING:
    from vertebra_bert.demo.weights import Weights

_PREFERRED = ("torch", "jax")
"""Runtimes in order of preference. Training starts sooner on torch, which compiles nothing."""

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that spin while they wait slow each other down on a machine with few or shared cores.
    "OMP_WAIT_POLICY": "PASSIVE",
    # On a GPU, JAX otherwise rounds the factors of float32 products, and its outputs differ from torch's.
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
}
"""Environment variables of this process and the second one; the user's own values take precedence."""


def run(context: vertebra.DemoContext, weights: Weights | None = None) -> None:
    """Runs the demo.

    Args:
        context: The available runtimes and the output folder.
        weights: The weights to use, or None for the best installed ones.

    Raises:
        DemoError: a required package is missing, or the outputs of the runtimes differ.
    """
    from vertebra_bert.demo.screen import Screen
    from vertebra_bert.demo.weights import find_weights, require_text

    started = time.perf_counter()
    require_text()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    first, second = _two_of(context.runtimes)
    screen = Screen()
    screen.title("Vertebra demo: BERT on " + (first if first == second else f"{first}, then on {second}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of frameworks would clutter the demo's output
        vertebra.use(first)  # before the story, which imports Keras
        from vertebra_bert.demo.story import tell

        tell(screen, weights or find_weights(), first, second, context.folder)
    screen.fact("time", f"{time.perf_counter() - started:.0f} s")


def _two_of(runtimes: Sequence[str]) -> tuple[str, str]:
    """Returns the runtimes of the first and the second process, which are the same if only one is available."""
    order = sorted(runtimes, key=lambda name: (name not in _PREFERRED, name != _PREFERRED[0]))
    return order[0], order[min(1, len(order) - 1)]
