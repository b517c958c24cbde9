"""Tasks of transformers checkpoints: the head's tensors, and the fields of `config.json` about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from vertebra import HeadSpec, PresetFiles, TaskExport, TaskPreset, TensorRule
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_text.task_files.stored import StoredTask

_CONFIG, _SENTENCE_TRANSFORMERS = "config.json", "config_sentence_transformers.json"
_PEER, _OLD_ACTIVATION = "sentence_transformers", "sbert_ce_default_activation_function"
"""Fields of a config that make a classifier a cross-encoder."""
_TIED = "tie_word_embeddings"
_MOST_LABELS = 1_000_000
_ACTIVATIONS = {"Identity": "identity", "Sigmoid": "sigmoid"}
_RENAMED = {".weight": ".gamma", ".bias": ".beta"}
"""Names of the variables of layer normalisation in checkpoints that were converted from TensorFlow."""


def recognises(preset: TaskPreset) -> bool:
    """Returns whether a preset is a transformers checkpoint."""
    return preset.format == "transformers"


def read(task_class: Any, preset: TaskPreset, own: Mapping[str, Any]) -> StoredTask:
    """Returns the task of a checkpoint, with the head of the class, if the checkpoint has it."""
    config = preset.files.json(_CONFIG).value
    name = task_class.head_task
    if not name:
        return StoredTask()
    from vertebra_text.layers.head import head_of  # not at the top: describing a task imports no framework

    head = with_ties(head_of(name, preset.backbone, config), config)
    arguments: dict[str, Any] = {"head": head.to_config()}
    has_one_class = "score" in task_class._own_arguments() and not {"id2label", "num_labels"} & config.keys()
    if name != "MaskedLM" and not has_one_class:
        arguments |= classes(config)
    if name == "TextClassifier":
        arguments |= _problem(task_class, preset, config)
    arguments = {key: value for key, value in arguments.items() if _is_needed(key, own)}
    tensors = with_old_names(preset.tensors)
    return StoredTask(arguments, tensors, partial(_rules, tensors), file=_CONFIG)


def with_ties(head: HeadSpec, config: Mapping[str, Any]) -> HeadSpec:
    """Returns a head whose matrix of the vocabulary is not the token table, if a config says so."""
    if config.get(_TIED) is not False:
        return head
    layers = [replace(layer, tied=False) if isinstance(layer, HeadSpec.Vocabulary) else layer for layer in head.layers]
    return replace(head, layers=tuple(layers))


def _rules(tensors: Mapping[str, Any], task: Any) -> dict[str, TensorRule]:
    """Returns the tensor of each variable.

    Version 4 of transformers has one bias of the vocabulary under two names, and saves it under the head's. Version 5
    has two biases if the matrix is not tied, saves both, and computes with the one next to the matrix.
    """
    rules = task.built_head.rules()
    for layer, built in task.built_head.layers:
        if isinstance(layer, HeadSpec.Vocabulary) and rules[f"{built.name}/bias"].tensor not in tensors:
            rules[f"{built.name}/bias"] = TensorRule(layer.bias)
    return rules


def with_old_names(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns tensors with the present names of those that have older ones."""
    renamed = {}
    for name in tensors:
        for new, old in _RENAMED.items():
            if name.endswith(old):
                renamed[name.removesuffix(old) + new] = name
    if not renamed:
        return tensors
    return {**{name: tensors[name] for name in tensors}, **{new: tensors[old] for new, old in renamed.items()}}


def _is_needed(argument: str, own: Mapping[str, Any]) -> bool:
    """Returns whether an argument of the checkpoint is used; those of the user may contradict it."""
    about_classes = {"num_classes", "labels"}
    return argument not in about_classes or not about_classes & own.keys()


def classes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns number and names of the classes; transformers' default is two classes.

    Raises:
        PresetConfigError: the names are no list of classes.
    """
    names = config.get("id2label")
    if names is None:
        count = config.get("num_labels", 2)
        if type(count) is not int or not 0 < count <= _MOST_LABELS:
            raise PresetConfigError(_CONFIG, f"num_labels is {count!r}, expected an int above 0")
        return {"num_classes": count}
    try:
        by_number = {int(number): str(name) for number, name in names.items()}
    except (AttributeError, ValueError) as error:
        raise PresetConfigError(_CONFIG, f"id2label is {names!r}, expected names by number") from error
    if sorted(by_number) != list(range(len(by_number))) or not by_number:
        raise PresetConfigError(_CONFIG, f"id2label has the numbers {sorted(by_number)}, expected 0, 1, 2, …")
    labels = [by_number[number] for number in range(len(by_number))]
    if len(set(labels)) != len(labels):  # transformers allows it; a label must still name one class here
        labels = [name if labels.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(labels)]
    return {"num_classes": len(labels), "labels": labels}


def _problem(task_class: Any, preset: TaskPreset, config: Mapping[str, Any]) -> dict[str, Any]:
    if "score" in task_class._own_arguments():
        return {"score": score(activation_name(preset.files, config) or "Sigmoid")}
    return {"problem_type": config["problem_type"]} if config.get("problem_type") else {}


def activation_name(files: PresetFiles, config: Mapping[str, Any]) -> str | None:
    """Returns Sentence Transformers' `activation_fn` of a cross-encoder, or None if the preset names none.

    Its releases have it in a file of their own, in a field of the config, or under an older name.
    """
    own = files.json(_SENTENCE_TRANSFORMERS).value if _SENTENCE_TRANSFORMERS in files.names else {}
    nested = config.get(_PEER)
    name = (
        own.get("activation_fn")
        or (nested.get("activation_fn") if isinstance(nested, Mapping) else None)
        or config.get(_OLD_ACTIVATION)
    )
    return None if not name else str(name)


def score(activation: str) -> str:
    """Returns what the score of a cross-encoder is, by the name of its activation function.

    Raises:
        PresetConfigError: the function is another one.
    """
    found = _ACTIVATIONS.get(activation.rpartition(".")[2])
    if found is None:
        raise PresetConfigError(_CONFIG, f"activation_fn is {activation!r}, expected torch's Identity or Sigmoid")
    return found


MODELS = {
    "TextClassifier": "ForSequenceClassification",
    "TokenClassifier": "ForTokenClassification",
    "MaskedLM": "ForMaskedLM",
}
"""The ends of the names of transformers' classes."""
_SCORES = {"identity": "torch.nn.modules.linear.Identity", "sigmoid": "torch.nn.modules.activation.Sigmoid"}
"""The classes of the score of a cross-encoder."""


def export(task: Any) -> TaskExport:
    """Returns what the task adds to a transformers checkpoint: the head's tensors, and the fields of its classes.

    Raises:
        FormatLimitError: transformers has no such task, or the outputs have an activation, which its heads lack.
    """
    import keras
    import numpy as np

    from vertebra_text.layers.head import bias_of

    name = task.head_task
    if not name:
        problem = "transformers has no such task; task.backbone.save_to_preset saves the backbone alone"
        raise FormatLimitError("transformers", "task", type(task).task_name(), problem)
    if getattr(task, "activation", None) not in (None, "linear"):
        raise FormatLimitError("transformers", "activation", task.activation, "its heads return logits")
    rules, weights = task.built_head.rules(), task.head_weights()
    tensors = {}
    for name_, rule in rules.items():
        array = keras.ops.convert_to_numpy(weights[name_].value)
        tensors[rule.tensor] = np.ascontiguousarray(array.T if rule.transpose else array)
    for layer in _untied_layers(task):
        tensors[layer.bias] = tensors[bias_of(layer.matrix)]  # the name that version 4 reads
    return TaskExport(lambda _: None, tensors, _fields(task, name), MODELS[name])


def _untied_layers(task: Any) -> list[Any]:
    layers = task.built_head.spec.layers
    return [layer for layer in layers if isinstance(layer, HeadSpec.Vocabulary) and not layer.tied]


def _fields(task: Any, name: str) -> dict[str, Any]:
    """Returns the fields of a config about the classes."""
    if name == "MaskedLM":
        return {_TIED: not _untied_layers(task)}
    names = dict(enumerate(task.labels))
    fields: dict[str, Any] = _dropout(task, name) | {
        "id2label": {str(number): label for number, label in names.items()},
        "label2id": {label: number for number, label in names.items()},
    }
    if hasattr(task, "score"):
        return fields | {_PEER: {"activation_fn": _SCORES[task.score]}}
    fields |= {_PEER: None, _OLD_ACTIVATION: None}  # else it would be the cross-encoder that it was
    return fields | ({"problem_type": task.problem_type} if name == "TextClassifier" else {})


def _dropout(task: Any, name: str) -> dict[str, Any]:
    """Returns the field with the rate of the head's dropout, if the user chose it and the architecture has a field."""
    from vertebra_text.layers.head import head_of

    if task.dropout is None:
        return {}
    for field in ("classifier_dropout", "seq_classif_dropout"):
        head = head_of(name, task.backbone, {field: task.dropout})
        if any(isinstance(layer, HeadSpec.Dropout) and layer.rate == task.dropout for layer in head.layers):
            return {field: task.dropout}
    return {}
