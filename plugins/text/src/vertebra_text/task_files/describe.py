"""Describes the task that a preset holds, from config, headers and small files; imports no framework."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vertebra import DescribedPreset, HeadSpec, PresetFiles, TaskFacts, tasks
from vertebra.errors import PresetConfigError
from vertebra_text.task_files import kerashub, native, sentence_transformers, transformers

_CONFIG = "config.json"
_TEXTS = ["a cat sits on the mat", "stock markets fell"]
_PIPELINES = {
    "TextEmbedder": "sentence-similarity",
    "TextClassifier": "text-classification",
    "Reranker": "text-ranking",
    "TokenClassifier": "token-classification",
    "MaskedLM": "fill-mask",
}
"""The names of the tasks on the Hugging Face Hub (huggingface.co/tasks)."""
_NOT_SHOWN = ("head", "dropout", "activation", "score", "dense", "mask_selection_rate")
"""Arguments of tasks that describe layers or training."""


def describe(name: str, preset: DescribedPreset) -> TaskFacts | None:
    """Returns what a preset says about the task of a name, or None if it does not hold this task.

    Presets in Vertebra's own format can hold any subclass of `vertebra_text.Task`.

    Raises:
        PresetConfigError: a file is invalid.
    """
    if preset.format == "native" and native.CONFIG in preset.files.names:
        found = _native(name, preset)
    elif preset.format == "kerashub":
        found = _kerashub(name, preset)
    elif sentence_transformers.MODULES in preset.files.names and name == "TextEmbedder":
        found = _embedder(preset)
    else:
        found = _transformers(name, preset) if preset.format == "transformers" else None
    if found is None:
        return None
    settings, parameters = found
    if not isinstance(settings.get("prompts"), Mapping | None):
        raise PresetConfigError(native.CONFIG, f"prompts is {settings['prompts']!r:.200}, expected texts by name")
    tags, library = _labels_of_hub(name, preset)
    hidden = (*_NOT_SHOWN, *(("labels", "num_classes", "problem_type") if name == "Reranker" else ()))
    shown = {key: value for key, value in settings.items() if key not in hidden and value not in (None, {}, [])}
    lines = _usage(name, settings, preset.tokenizer)
    return TaskFacts(shown, parameters, lines, _PIPELINES.get(name, ""), tags, library)


def _labels_of_hub(name: str, preset: DescribedPreset) -> tuple[Sequence[str], str]:
    """Returns tags and the library's name, as models of Sentence Transformers have them on the Hub."""
    if name == "TextEmbedder" and sentence_transformers.MODULES in preset.files.names:
        return ["sentence-transformers", "feature-extraction"], "sentence-transformers"
    if name == "Reranker" and preset.format == "transformers":
        return ["sentence-transformers", "cross-encoder"], "sentence-transformers"
    return [], ""


Found = tuple[Mapping[str, Any], int | None] | None
"""The arguments of a task and the number of parameters of its head, or None."""


def _native(name: str, preset: DescribedPreset) -> Found:
    config = preset.files.json(native.CONFIG).value
    arguments = config.get("arguments")
    if config.get("task") != name or not isinstance(arguments, Mapping):
        return None
    return _with_length(arguments, config), _stored(preset.files, native.WEIGHTS)


def _with_length(settings: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, "sequence_length": config.get("sequence_length")}


def _stored(files: PresetFiles, name: str, group: str = "") -> int:
    """Returns the number of parameters in a file of a head, of those whose names begin with a group."""
    if name not in files.names:
        return 0
    tensors = tasks.read_tensors(files, name)
    return sum(int(array.size) for tensor, array in tensors.items() if tensor.startswith(group))


def _kerashub(name: str, preset: DescribedPreset) -> Found:
    """Our own arguments are next to KerasHub's; only those of a reranker have a score."""
    if kerashub.CONFIG not in preset.files.names:
        return None
    document = preset.files.json(kerashub.CONFIG).value
    config, own = document.get("config"), document.get(kerashub.OWN)
    own = own if isinstance(own, Mapping) else {}
    task = "TextClassifier" if name == "Reranker" else name
    if not str(document.get("class_name")).endswith(task) or not isinstance(config, Mapping):
        return None
    if task == "TextClassifier" and (name == "Reranker") != ("score" in own):
        return None
    settings = {**own, **{key: config[key] for key in kerashub.ARGUMENTS if key in config}}
    preprocessor = config.get("preprocessor")
    if isinstance(preprocessor, Mapping) and isinstance(preprocessor.get("config"), Mapping):
        settings = _with_length(settings, preprocessor["config"])
    return settings, _stored(preset.files, kerashub.WEIGHTS, "layers/")  # without the optimizer's


def _embedder(preset: DescribedPreset) -> Found:
    stored = sentence_transformers.read_modules(preset.files)
    parameters = sum(int(array.size) for array in stored.tensors.values())
    return {**stored.arguments, "sequence_length": stored.sequence_length}, parameters


# === transformers ===


def _transformers(name: str, preset: DescribedPreset) -> Found:
    config = preset.files.json(_CONFIG).value
    task = "TextClassifier" if name == "Reranker" else name
    if not _has_class(config, task):
        return None
    activation = transformers.activation_name(preset.files, config)
    if task == "TextClassifier" and (name == "Reranker") != (activation is not None):
        return None
    spec = transformers.with_ties(_head(task, preset, config), config)
    if preset.tensors is not None and not _tensors_of(spec) <= set(preset.tensors):
        return None  # a head that the checkpoint lacks would be random
    if name == "MaskedLM":
        return {}, _parameters(spec, preset.arguments, 0)
    if name == "Reranker":
        return {}, _parameters(spec, preset.arguments, 1)
    settings = transformers.classes(config)
    if name == "TextClassifier":
        problem = "regression" if settings["num_classes"] == 1 else "single_label_classification"
        settings["problem_type"] = config.get("problem_type") or problem
    return settings, _parameters(spec, preset.arguments, settings["num_classes"])


def _has_class(config: Mapping[str, Any], task: str) -> bool:
    """Returns whether a config names transformers' class of a task."""
    names = config.get("architectures")
    ends = (transformers.MODELS.get(task, "-"), *(["ForPreTraining"] if task == "MaskedLM" else []))
    return isinstance(names, list) and any(str(name).endswith(ends) for name in names)


def _head(task: str, preset: DescribedPreset, config: Mapping[str, Any]) -> HeadSpec:
    declared = tasks.head_of_architecture(task, preset.backbone, preset.arguments, config)
    return declared or HeadSpec("first", (HeadSpec.Dense("classifier"),))


def _tensors_of(spec: HeadSpec) -> set[str]:
    """Returns the names of the matrices of a head, and of its biases of the vocabulary."""
    modules = [layer.module for layer in spec.layers if isinstance(layer, HeadSpec.Dense)]
    biases = [layer.bias for layer in spec.layers if isinstance(layer, HeadSpec.Vocabulary)]
    return {f"{module}.weight" for module in modules} | set(biases)


def _parameters(spec: HeadSpec, arguments: Mapping[str, Any], outputs: int) -> int | None:
    """Returns the number of parameters of a head, or None if a width is unknown."""
    hidden, rows = arguments.get("hidden_dim"), arguments.get("vocabulary_size")
    widths = {"hidden": hidden, "embedding": arguments.get("embedding_dim") or hidden, "outputs": outputs}
    if type(hidden) is not int or type(rows) is not int:
        return None
    width, total = hidden, 0
    for layer in spec.layers:
        if isinstance(layer, HeadSpec.Dense):
            units = int(widths[layer.width])
            total, width = total + width * units + units * layer.use_bias, units
        elif isinstance(layer, HeadSpec.Norm):
            total += width * (1 + layer.use_bias)
        elif isinstance(layer, HeadSpec.Vocabulary):
            total += rows if layer.tied else rows + width * rows
    return total


# === Usage ===


def _usage(name: str, settings: Mapping[str, Any], tokenizer: Any) -> Sequence[str]:
    """Returns lines of Python that use a task on texts; none without a tokenizer, or for tasks of other plugins."""
    if tokenizer is None:
        return []
    mask = getattr(tokenizer, "mask_token", None)
    masked = json.dumps(f"a cat sits on the {mask}", ensure_ascii=True)
    query, documents = json.dumps("where do cats sit?"), json.dumps(_TEXTS)
    lines = {
        "TextEmbedder": [f"vectors = task.embed({documents})", "task.similarity(vectors, vectors)"],
        "TextClassifier": [f"task.classify({json.dumps(_TEXTS[0])})"],
        "Reranker": [f"task.rank({query}, {documents})"],
        "TokenClassifier": [f"task.tag({json.dumps(_TEXTS[0])})"],
        "MaskedLM": [f"task.fill({masked})"] if mask else [],
    }
    if name == "TextEmbedder" and "query" in (settings.get("prompts") or {}):
        return [
            f"vectors = task.encode_documents({documents})",
            f"task.similarity(task.encode_query({query}), vectors)",
        ]
    return lines.get(name, [])
