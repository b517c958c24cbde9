"""Causal language models in KerasHub's presets: `task.json` and `preprocessor.json`; the weights are the backbone's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vertebra import TaskExport, TaskPreset, tasks
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_text import StoredTask

FORMAT, CONFIG = "kerashub", "task.json"
TASK = "CausalLM"
_PREPROCESSOR, _TOKENIZER = "preprocessor.json", "tokenizer.json"
_MODULE, _PACKAGE = "keras_hub.models", "keras_hub>"
_STEMS = (
    *("Bloom", "Falcon", "Gemma", "Gemma3", "GPT2", "GPTNeoX", "GptOss", "Llama", "Llama3", "Mistral", "Mixtral"),
    *("OPT", "Phi3", "Qwen", "Qwen3", "Qwen3Moe", "QwenMoe", "SmolLM3"),
)
"""KerasHub's architectures with such a task for texts alone, by the beginning of the name of their classes (0.32)."""
_SAME_FILES = (("GemmaTokenizer", "Gemma3Tokenizer"), ("LlamaTokenizer", "MistralTokenizer"))
"""Classes of tokenizers with the same fields and files."""
_MOST_TOKENS = 1024
"""The length of KerasHub's rows if the task has no limit, as in KerasHub: it pads all rows to one length."""


def read(preset: TaskPreset) -> StoredTask:
    """Returns the task of a preset: KerasHub's causal language models have no weights but the backbone's.

    Raises:
        PresetConfigError: `task.json` is invalid.
    """
    notes = []
    if CONFIG in preset.files.names:
        document = preset.files.json(CONFIG).value
        name = document.get("class_name")
        if not isinstance(name, str) or not isinstance(document.get("config"), Mapping):
            raise PresetConfigError(CONFIG, "it has no class_name and config, expected the config of a Keras object")
        notes = [] if name.endswith(TASK) else [f"it has a head of {name}, which is not used"]
    return StoredTask(notes=notes, file=CONFIG)


def export(task: Any) -> TaskExport:
    """Returns what the task adds to a KerasHub preset.

    Raises:
        FormatLimitError: KerasHub has no such task, or no head with a matrix of its own for it.
    """
    backbone = tasks.kerashub_config(task.backbone)
    stem = str(backbone["class_name"]).removesuffix("Backbone")
    if stem not in _STEMS:
        problem = f"KerasHub has no {stem}{TASK}; task.backbone.save_to_preset saves the backbone alone"
        raise FormatLimitError(FORMAT, "task", TASK, problem)
    if task.own_head:
        problem = f"its {stem}{TASK} computes logits with the token table"
        raise FormatLimitError(FORMAT, "own_head", True, problem)
    return TaskExport(partial(_write, task, stem, backbone))


def _write(task: Any, stem: str, backbone: Mapping[str, Any], folder: Path) -> None:
    preprocessor = None
    if task.tokenizer is not None:
        if not (folder / _TOKENIZER).exists():
            task.tokenizer.save_to_preset(folder, format=FORMAT)
        preprocessor = _preprocessor(task, f"{stem}{TASK}Preprocessor", _tokenizer(folder / _TOKENIZER, stem))
        _dump(folder / _PREPROCESSOR, preprocessor)
    config = {"backbone": backbone, "preprocessor": preprocessor, "name": task.name}
    _dump(folder / CONFIG, _object(f"{stem}{TASK}", config))


def _tokenizer(path: Path, stem: str) -> dict[str, Any]:
    """Returns the config of a tokenizer that was written, as one of the class of an architecture.

    Raises:
        FormatLimitError: KerasHub's tokenizer of the architecture is of another kind.
    """
    envelope: dict[str, Any] = json.loads(path.read_bytes())
    wanted, given = f"{stem}Tokenizer", envelope["class_name"]
    if given != wanted:
        if not any({given, wanted} <= set(classes) for classes in _SAME_FILES):
            raise FormatLimitError(FORMAT, "tokenizer_class", given, f"its {stem}{TASK} has a {wanted}")
        config = {field: value for field, value in envelope["config"].items() if field != "name"}
        envelope = _object(wanted, config)
        _dump(path, envelope)
    return envelope


def _preprocessor(task: Any, class_name: str, tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    config = {
        "tokenizer": tokenizer,
        "config_file": _PREPROCESSOR,
        "sequence_length": getattr(task.preprocessor, "sequence_length", None) or _MOST_TOKENS,
        "add_start_token": True,
        "add_end_token": True,
    }
    return _object(class_name, config)


def _object(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of a Keras object of KerasHub."""
    registered = f"{_PACKAGE}{class_name}"
    return {"module": _MODULE, "class_name": class_name, "config": config, "registered_name": registered}


def _dump(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
