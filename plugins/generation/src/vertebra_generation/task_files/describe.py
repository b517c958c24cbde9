"""Describes the causal language model that a preset holds, from config and headers; imports no framework."""

from __future__ import annotations

from dataclasses import replace

import vertebra_text
from vertebra import DescribedPreset, TaskFacts, tasks
from vertebra_generation.task_files.transformers import CONFIG, FORMAT, MODELS, is_untied, stored_name

_PIPELINE = "text-generation"
"""The name of the task on the Hugging Face Hub (huggingface.co/tasks)."""
_USAGE = ('task.score("The capital of France is", [" Paris", " a town"])',)


def describe(name: str, preset: DescribedPreset) -> TaskFacts | None:
    """Returns what a preset says about the task, or None if it does not hold it.

    Raises:
        PresetConfigError: a file is invalid.
    """
    facts = _transformers(preset) if preset.format == FORMAT else vertebra_text.describe(name, preset)
    if facts is None:
        return None
    usage = () if preset.tokenizer is None else _USAGE
    settings = {key: value for key, value in facts.settings.items() if value is not False}
    return replace(facts, settings=settings, usage=usage, pipeline_tag=_PIPELINE)


def _transformers(preset: DescribedPreset) -> TaskFacts | None:
    config = preset.files.json(CONFIG).value
    names = config.get("architectures")
    if not isinstance(names, list) or not any(str(name).endswith(MODELS) for name in names):
        return None
    if not tasks.cache_of_architecture(preset.backbone, preset.arguments):
        return None  # such as BertLMHeadModel, whose backbone here is an encoder
    has_matrix = preset.tensors is None or stored_name(preset.tensors, "lm_head.weight") is not None
    if not is_untied(config) or not has_matrix:
        return TaskFacts(parameters=0)
    sizes = [preset.arguments.get(size) for size in ("vocabulary_size", "hidden_dim")]
    rows, width = (size if type(size) is int else None for size in sizes)
    parameters = None if rows is None or width is None else rows * width
    return TaskFacts({"own_head": True}, parameters)
