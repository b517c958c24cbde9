"""Causal language models in transformers checkpoints: the matrix of the head, and whether it is the token table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from vertebra import TaskExport, TaskPreset, TensorRule
from vertebra.errors import PresetConfigError
from vertebra_text import StoredTask

FORMAT, CONFIG = "transformers", "config.json"
TIED = "tie_word_embeddings"
KERNEL = "lm_head/kernel"
"""The name of the matrix among the weights of the task's head."""
_MODULE = "lm_head"
_MATRIX, _BIAS = f"{_MODULE}.weight", f"{_MODULE}.bias"
MODELS = ("ForCausalLM", "LMHeadModel")
"""The ends of the names of transformers' classes; models of 2019 have the second one."""
_WITH_OLD_NAMES = ("GPT2Backbone",)


def read(preset: TaskPreset) -> StoredTask:
    """Returns the task of a checkpoint.

    As in version 5 of transformers, the head has a matrix of its own if the config says so, or if the checkpoint has a
    matrix that differs from the token table.

    Raises:
        PresetConfigError: the head has a bias, which no causal language model here has.
    """
    if stored_name(preset.tensors, _BIAS) is not None:
        raise PresetConfigError(CONFIG, f"the head has a bias, {_BIAS}, expected a matrix only")
    name = stored_name(preset.tensors, _MATRIX)
    config = preset.files.json(CONFIG).value
    differs = name in preset.untied_heads or is_untied(config)
    own_head = differs and preset.backbone.token_embedding.tie_weights
    return StoredTask({"own_head": own_head}, preset.tensors, partial(_rules, name or _MATRIX, differs), file=CONFIG)


def _rules(name: str, differs: bool, task: Any) -> Mapping[str, TensorRule]:
    """Returns the tensor of the matrix; a copy of the token table is used, too, as the table itself."""
    return {} if differs and not task.own_head else {KERNEL: TensorRule(name, transpose=True)}


def stored_name(names: Iterable[str], name: str) -> str | None:
    """Returns the name of a head's tensor in a checkpoint, where wrappers may have added a prefix, or None."""
    return next((stored for stored in names if f".{stored}".endswith(f".{name}")), None)


def is_untied(config: Mapping[str, Any]) -> bool:
    """Returns whether a config says that the head has a matrix of its own."""
    return config.get(TIED) is False


def export(task: Any) -> TaskExport:
    """Returns what the task adds to a transformers checkpoint: the name of the class, and a matrix that is not tied."""
    import keras  # not at the top: describing a task imports no framework
    import numpy as np

    weights, embedding = task.head_weights(), task.backbone.token_embedding
    tensors = {}
    for variable in weights.values():
        tensors[_MATRIX] = np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value).T)
    fields = {TIED: embedding.tie_weights and not weights}
    old = type(task.backbone).__name__ in _WITH_OLD_NAMES
    return TaskExport(lambda _: None, tensors, fields, MODELS[old])
