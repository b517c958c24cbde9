"""The demo of BERT: load real weights, compare sentences, fine-tune with LoRA, and go on in another runtime."""

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
"""Runtimes to take first. Training starts sooner on torch, which compiles nothing."""

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that spin while they wait make each other many times slower where cores are few or shared.
    "OMP_WAIT_POLICY": "PASSIVE",
    # On a GPU, jax would otherwise round the factors of float32 products, and no two runtimes would agree.
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
}
"""What this process and the second one have set, unless the user set it."""


def run(context: vertebra.DemoContext, weights: Weights | None = None) -> None:
    """Runs the demo.

    Args:
        context: What `vertebra demo` gives.
        weights: The weights to use, or None for the best that are installed.

    Raises:
        DemoError: something that the demo needs is missing, or the runtimes do not agree.
    """
    from vertebra_bert.demo.screen import Screen
    from vertebra_bert.demo.weights import find_weights, require_tokenizers

    started = time.perf_counter()
    require_tokenizers()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    first, second = _two_of(context.runtimes)
    screen = Screen()
    screen.title("Vertebra demo: BERT on " + (first if first == second else f"{first}, then on {second}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what frameworks say about themselves is not about the demo
        vertebra.use(first)  # before the story, which imports Keras
        from vertebra_bert.demo.story import tell

        tell(screen, weights or find_weights(), first, second, context.folder)
    screen.fact("time", f"{time.perf_counter() - started:.0f} s")


def _two_of(runtimes: Sequence[str]) -> tuple[str, str]:
    """The runtime to start with, and the one to go on with: the same one if there is no other."""
    order = sorted(runtimes, key=lambda name: (name not in _PREFERRED, name != _PREFERRED[0]))
    return order[0], order[min(1, len(order) - 1)]
