"""Writes tasks as KerasHub's files: `task.json`, `preprocessor.json`, and the head in `task.weights.h5`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vertebra import HeadSpec, TaskExport, tasks
from vertebra.errors import FormatLimitError
from vertebra_text.preprocessor import TextPreprocessor
from vertebra_text.system import warn
from vertebra_text.task_files.kerashub import (
    ARGUMENTS,
    CONFIG,
    OWN,
    ROUND_ROBIN,
    WEIGHTS,
    head_in_kerashub,
    rules,
    task_in_kerashub,
)
from vertebra_text.task_files.stored import TRUNCATION

_FORMAT = "kerashub"
_TASKS = {
    "Bert": ("TextClassifier", "MaskedLM", "TextEmbedder"),
    "DistilBert": ("TextClassifier", "MaskedLM"),
    "Roberta": ("TextClassifier", "MaskedLM"),
    "XLMRoberta": ("TextClassifier", "MaskedLM", "TextEmbedder"),
}
"""KerasHub's tasks by the beginning of the name of their classes (0.32)."""
_POOLINGS = ("mean", "cls", "max")
_MODULE, _PACKAGE = "keras_hub.models", "keras_hub>"
_PREPROCESSOR, _TOKENIZER = "preprocessor.json", "tokenizer.json"
_WORDPIECE = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")
"""Classes with the same fields and files."""
_MASKING = {"mask_token_rate": 0.8, "random_token_rate": 0.1}
"""How `MaskedLM.prepare` masks tokens, by KerasHub's names."""
_NEW_OPTIMIZER = {"optimizer/vars/0": np.array(0, "int32"), "optimizer/vars/1": np.array(5e-5, "float32")}
"""Steps and learning rate of the optimizer of a new task, without which Keras warns when it loads the head."""
_MOST_TOKENS = 512
"""The length of KerasHub's rows if the task has no limit: KerasHub pads all rows to one length."""


def export(task: Any) -> TaskExport:
    """Returns what the task adds to a KerasHub preset.

    Arguments that KerasHub's class lacks, and that change no output for token ids, are kept in a field of `task.json`
    that KerasHub ignores: names of labels, `problem_type`, `score`, prompts and the like.

    Raises:
        FormatLimitError: KerasHub has no such task, or not such settings.
    """
    backbone = tasks.kerashub_config(task.backbone)
    name, stem = task_in_kerashub(type(task)), str(backbone["class_name"]).removesuffix("Backbone")
    if name not in _TASKS.get(stem, ()):
        problem = f"KerasHub has no {stem}{name}; task.backbone.save_to_preset saves the backbone alone"
        raise _limit("task", name, problem)
    _check_preprocessor(task.preprocessor)
    if task.head_task:
        _check_head(task)
    else:
        _check_embedder(task)
    return TaskExport(lambda folder: _write(task, folder, stem, backbone))


def _limit(argument: str, value: object, problem: str) -> FormatLimitError:
    return FormatLimitError(_FORMAT, argument, value, problem)


# === What KerasHub can hold ===


def _check_embedder(task: Any) -> None:
    if task.pooling_mode not in _POOLINGS:
        raise _limit("pooling_mode", task.pooling_mode, f"its text embedders have {', '.join(_POOLINGS)}")
    for name, absent in (("dense", []), ("truncate_dim", None), ("default_prompt_name", None)):
        if getattr(task, name) != absent:
            raise _limit(name, getattr(task, name), "its text embedders have no such setting")


def _check_head(task: Any) -> None:
    """Refuses a head that is computed in another way than KerasHub's, and warns of another epsilon."""
    ours, theirs = _layers(task.built_head.spec), _layers(head_in_kerashub(task.head_task, task.backbone))
    if [kind for kind, _ in ours] != [kind for kind, _ in theirs]:
        raise _limit("head", [kind for kind, _ in ours], f"its layers are {', '.join(kind for kind, _ in theirs)}")
    epsilons = None
    for (kind, given), (_, fixed) in zip(ours, theirs, strict=True):
        for name in given:
            if given[name] != fixed[name] and name == "epsilon":
                epsilons = fixed[name], given[name]
            elif given[name] != fixed[name]:
                raise _limit(
                    f"head.{kind}.{name}", given[name], f"it is always {fixed[name]!r} in its {task.head_task}"
                )
    _check_activation(getattr(task, "activation", None))
    if epsilons is not None:
        warn(
            f"KerasHub's {task.head_task} adds {epsilons[0]} to the variance in its layer normalisation, and this head "
            f"{epsilons[1]}: its outputs differ slightly. Vertebra reads {epsilons[1]} again"
        )


def _check_activation(activation: Any) -> None:
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "")
    known = getattr(keras.activations, name, None)
    if activation is not None and (known is None or activation not in (name, known)):
        raise _limit("activation", activation, "it loads activations of Keras only")


def _layers(head: HeadSpec) -> list[tuple[str, dict[str, Any]]]:
    """Returns kind and settings of each layer that computes, without the names of tensors."""
    found = [("Pooling", {"pooling": head.pooling})]
    for layer in head.layers:
        if not isinstance(layer, HeadSpec.Dropout):
            settings = {key: value for key, value in asdict(layer).items() if key not in ("module", "bias", "matrix")}
            found.append((type(layer).__name__, settings))
    return found


def _check_preprocessor(preprocessor: Any) -> None:
    if not isinstance(preprocessor, TextPreprocessor):
        return
    if preprocessor.truncation in ("only_first", "only_second"):
        raise _limit("truncation", preprocessor.truncation, "its preprocessors cut pairs as longest_first does")
    for side in ("padding_side", "truncation_side"):
        if getattr(preprocessor.tokenizer, side, "right") != "right":
            raise _limit(side, "left", "its preprocessors pad and cut rows at the end")


# === Files ===


def _write(task: Any, folder: Path, stem: str, backbone: Mapping[str, Any]) -> None:
    name, preprocessor = task_in_kerashub(type(task)), None
    if task.tokenizer is not None:
        if not (folder / _TOKENIZER).exists():
            task.tokenizer.save_to_preset(folder, format=_FORMAT)
        preprocessor = _preprocessor(task, f"{stem}{name}Preprocessor", _tokenizer(folder / _TOKENIZER, stem))
        _dump(folder / _PREPROCESSOR, preprocessor)
    arguments = task.task_arguments()
    config = {"backbone": backbone, "preprocessor": preprocessor, "name": task.name}
    config |= {argument: arguments[argument] for argument in ARGUMENTS if argument in arguments}
    if "dropout" in config:
        config["dropout"] = _dropout(task)
    own = {argument: value for argument, value in arguments.items() if argument not in ARGUMENTS}
    own |= {TRUNCATION: task.preprocessor.truncation} if isinstance(task.preprocessor, TextPreprocessor) else {}
    _dump(folder / CONFIG, _object(f"{stem}{name}", config) | {OWN: own})
    found = task.head_weights()
    if found:
        arrays = {rule.tensor: keras.ops.convert_to_numpy(found[name].value) for name, rule in rules(task).items()}
        tasks.write_tensors(folder / WEIGHTS, arrays | _NEW_OPTIMIZER)


def _dropout(task: Any) -> float:
    """Returns the rate of the head's dropout; KerasHub's heads have one for all layers."""
    rates = [layer.rate for layer in task.built_head.spec.layers if isinstance(layer, HeadSpec.Dropout)]
    return task.dropout if task.dropout is not None else max(rates, default=0.0)


def _tokenizer(path: Path, stem: str) -> dict[str, Any]:
    """Returns the config of a tokenizer that was written, as one of the class of an architecture."""
    envelope: dict[str, Any] = json.loads(path.read_bytes())
    wanted, given = f"{stem}Tokenizer", envelope["class_name"]
    if given != wanted:
        if not {given, wanted} <= set(_WORDPIECE):
            raise _limit("tokenizer_class", given, f"its {stem} tasks have a {wanted}")
        config = {field: value for field, value in envelope["config"].items() if field != "name"}
        envelope = _object(wanted, config)
        _dump(path, envelope)
    return envelope


def _preprocessor(task: Any, class_name: str, tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    length = getattr(task.preprocessor, "sequence_length", None) or _MOST_TOKENS
    config = {
        "tokenizer": tokenizer,
        "config_file": _PREPROCESSOR,
        "sequence_length": length,
        "truncate": ROUND_ROBIN,
    }
    if hasattr(task, "mask_selection_rate"):
        most = max(1, round(length * task.mask_selection_rate))
        config |= {"mask_selection_rate": task.mask_selection_rate, "mask_selection_length": most, **_MASKING}
    return _object(class_name, config)


def _object(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of a Keras object of KerasHub."""
    registered = f"{_PACKAGE}{class_name}"
    return {"module": _MODULE, "class_name": class_name, "config": config, "registered_name": registered}


def _dump(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
