"""Text for Vertebra: tokenizers and tasks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vertebra_text.engines.batch_task import BatchTask as BatchTask
    from vertebra_text.engines.engine import Engine as Engine
    from vertebra_text.engines.engine import EngineSession as EngineSession
    from vertebra_text.errors import ItemError as ItemError
    from vertebra_text.errors import TextError as TextError
    from vertebra_text.long_runs.command import add_record_options as add_record_options
    from vertebra_text.long_runs.command import answer_records as answer_records
    from vertebra_text.preprocessor import TextPreprocessor as TextPreprocessor
    from vertebra_text.task_files.describe import describe as describe
    from vertebra_text.task_files.stored import StoredTask as StoredTask
    from vertebra_text.tasks.task import Task as Task
    from vertebra_text.tokenizers.interface import Tokenizer as Tokenizer
    from vertebra_text.tokenizers.vocabulary_check import check_vocabulary as check_vocabulary

__all__ = [
    "BatchTask",
    "Engine",
    "EngineSession",
    "ItemError",
    "StoredTask",
    "Task",
    "TextError",
    "TextPreprocessor",
    "Tokenizer",
    "add_record_options",
    "answer_records",
    "check_vocabulary",
    "describe",
]

_HOMES = {
    "BatchTask": "engines.batch_task",
    "Engine": "engines.engine",
    "EngineSession": "engines.engine",
    "ItemError": "errors",
    "TextError": "errors",
    "add_record_options": "long_runs.command",
    "answer_records": "long_runs.command",
    "StoredTask": "task_files.stored",
    "describe": "task_files.describe",
    "Task": "tasks.task",
    "TextPreprocessor": "preprocessor",
    "Tokenizer": "tokenizers.interface",
    "check_vocabulary": "tokenizers.vocabulary_check",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # imported at the first use: a plugin's module must import quickly
        return getattr(importlib.import_module(f"vertebra_text.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'vertebra_text' has no attribute {name!r}")
