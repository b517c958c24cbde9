"""Test suites for authors of tokenizers and tasks: subclass a suite, and define its fixtures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vertebra_text.testing.letters import small_tokenizer as small_tokenizer
    from vertebra_text.testing.tasks import TaskSuite as TaskSuite
    from vertebra_text.testing.tokenizers import TokenizerSuite as TokenizerSuite

__all__ = ["TaskSuite", "TokenizerSuite", "small_tokenizer"]

_HOMES = {"TaskSuite": "tasks", "TokenizerSuite": "tokenizers", "small_tokenizer": "letters"}

pytest.register_assert_rewrite(*(f"{__name__}.{home}" for home in _HOMES.values()))


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # imported at the first use: the suite of tasks imports Keras
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
