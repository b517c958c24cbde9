"""Text generation for Vertebra: causal language models."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vertebra_generation.causal_lm import CausalLM as CausalLM
    from vertebra_generation.training.metrics import Perplexity as Perplexity

__all__ = ["CausalLM", "Perplexity"]

_HOMES = {"CausalLM": "causal_lm", "Perplexity": "training.metrics"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # imported at the first use: a plugin's module must import quickly
        return getattr(importlib.import_module(f"vertebra_generation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'vertebra_generation' has no attribute {name!r}")
