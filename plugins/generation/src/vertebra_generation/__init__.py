"""Text generation for Vertebra: causal language models."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vertebra_generation.answers import Answer as Answer
    from vertebra_generation.answers import Piece as Piece
    from vertebra_generation.causal_lm import CausalLM as CausalLM
    from vertebra_generation.generating import CachedPrompt as CachedPrompt
    from vertebra_generation.sampling.errors import LogitsError as LogitsError
    from vertebra_generation.sampling.options import GenerationOptions as GenerationOptions
    from vertebra_generation.training.metrics import Perplexity as Perplexity

__all__ = ["Answer", "CachedPrompt", "CausalLM", "GenerationOptions", "LogitsError", "Perplexity", "Piece"]

_HOMES = {
    "Answer": "answers",
    "CachedPrompt": "generating",
    "CausalLM": "causal_lm",
    "GenerationOptions": "sampling.options",
    "LogitsError": "sampling.errors",
    "Perplexity": "training.metrics",
    "Piece": "answers",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # imported at the first use: a plugin's module must import quickly
        return getattr(importlib.import_module(f"vertebra_generation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'vertebra_generation' has no attribute {name!r}")
