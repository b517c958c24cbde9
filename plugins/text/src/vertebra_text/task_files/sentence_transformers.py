"""Folders of Sentence Transformers: `modules.json`, and a folder for each module after the transformer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vertebra import PresetFiles, TaskExport, TaskPreset, TensorRule, tasks
from vertebra.errors import FormatLimitError, PresetConfigError, PresetNotFoundError
from vertebra_text.task_files.stored import StoredTask, length_of
from vertebra_text.tokenizers.files.documents import read_bytes

MODULES = "modules.json"
_MOST_BYTES = 2**20
_VECTOR = "sentence_embedding"
"""The peer's name of the pooled vector; modules may also read and write others."""
_CONFIG, _SETTINGS = "config_sentence_transformers.json", "sentence_bert_config.json"
_OLD_MODES = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
"""Fields of releases up to 5, in the order in which vectors are concatenated."""
ACTIVATIONS = {
    "Identity": None,
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Mish": "mish",
    "ReLU6": "relu6",
    "Hardswish": "hard_silu",
    "LeakyReLU": "leaky_relu",
    "CELU": "celu",
    "ELU": "elu",
    "Hardshrink": "hard_shrink",
    "Hardsigmoid": "hard_sigmoid",
    "Hardtanh": "hard_tanh",
    "LogSigmoid": "log_sigmoid",
    "LogSoftmax": "log_softmax",
    "SELU": "selu",
    "Softmax": "softmax",
    "Softmin": "softmin",
    "Softplus": "softplus",
    "Softshrink": "soft_shrink",
    "Softsign": "softsign",
    "Tanhshrink": "tanh_shrink",
}
"""torch's classes of activations without weights, with their names here; the peer builds them without arguments."""
_LINEAR, _SHORTCUT = "linear", "residual"
"""The peer's names of the matrices of a dense layer."""


def recognises(preset: TaskPreset) -> bool:
    """Returns whether a preset is a folder of Sentence Transformers."""
    return MODULES in preset.files.names


def read(task_class: Any, preset: TaskPreset, own: Mapping[str, Any]) -> StoredTask:
    """Returns the embedder of a folder; for other tasks, the folder is read as a transformers checkpoint.

    Raises:
        PresetConfigError: a module cannot be computed here.
    """
    if "pooling_mode" not in task_class._own_arguments():
        from vertebra_text.task_files import transformers

        return transformers.read(task_class, preset, own)
    return read_modules(preset.files)


def read_modules(files: PresetFiles) -> StoredTask:
    """Returns the embedder of a folder.

    Raises:
        PresetConfigError: a module cannot be computed here.
    """
    folder = _Folder(files)
    for module in folder.modules():
        folder.add(module)
    return folder.stored()


class _Folder:
    """The modules of a folder, read one after the other; needs no framework."""

    def __init__(self, files: PresetFiles) -> None:
        self._files = files
        self._arguments: dict[str, Any] = {"pooling_mode": "mean", "normalize": False, "dense": []}
        self._tensors: dict[str, Any] = {}
        self._done: list[str] = []
        self._readers: dict[str, Callable[[str], None]] = {
            "Transformer": lambda _: None,
            "Pooling": self._pooling,
            "Dense": self._dense,
            "Normalize": self._normalize,
            "Dropout": lambda _: None,  # does nothing but in training
        }

    def modules(self) -> list[dict[str, Any]]:
        """Returns the modules in the order of computing.

        Raises:
            PresetConfigError: `modules.json` is not a list of modules.
        """
        data = read_bytes(self._files.fetch(MODULES), MODULES, _MOST_BYTES)
        try:
            listed = json.loads(data.decode())
            return sorted(listed, key=lambda module: module["idx"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise PresetConfigError(
                MODULES, f"it is not a list of modules with idx, path and type ({error})"
            ) from error

    def add(self, module: Mapping[str, Any]) -> None:
        kind = str(module.get("type")).rpartition(".")[2]
        if kind not in self._readers:
            known = ", ".join(self._readers)
            problem = f"it has the module {module.get('type')!r}; known are {known}"
            raise PresetConfigError(MODULES, problem, "Load the backbone alone, with vertebra.Backbone.from_preset")
        if self._done and self._done[-1] == "Normalize":
            raise PresetConfigError(MODULES, f"the module {kind} comes after Normalize, which must be the last")
        path = str(module.get("path", ""))
        self._readers[kind](f"{path}/" if path else "")
        self._done.append(kind)

    def _pooling(self, path: str) -> None:
        config = self._files.json(f"{path}config.json").value
        self._arguments["include_prompt"] = config.get("include_prompt") is not False
        modes = config.get("pooling_mode")
        if modes is None:
            modes = [mode for mode, field in _OLD_MODES.items() if config.get(field)] or ["mean"]
        listed = modes if isinstance(modes, list) else [modes]
        unknown = [mode for mode in listed if mode not in tuple(_OLD_MODES)] if listed else [listed]
        if unknown:
            raise PresetConfigError(
                f"{path}config.json", f"pooling_mode is {unknown[0]!r}, expected {', '.join(_OLD_MODES)}"
            )
        self._arguments["pooling_mode"] = listed[0] if len(listed) == 1 else listed

    def _dense(self, path: str) -> None:
        config = self._files.json(f"{path}config.json").value
        function = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
        activation = ACTIVATIONS.get(function.rpartition(".")[2], "")
        if activation == "" or not function.startswith("torch.nn."):
            known = ", ".join(ACTIVATIONS)
            raise PresetConfigError(
                f"{path}config.json", f"activation_function is {function!r}, expected one of torch.nn: {known}"
            )
        for field in ("module_input_name", "module_output_name"):
            if config.get(field) not in (None, _VECTOR):
                raise PresetConfigError(f"{path}config.json", f"{field} is {config[field]!r}, expected {_VECTOR!r}")
        number = len(self._arguments["dense"])
        spec = {"units": config.get("out_features"), "activation": activation, "use_bias": config.get("bias", True)}
        if type(spec["units"]) is not int or spec["units"] < 1:
            raise PresetConfigError(
                f"{path}config.json", f"out_features is {spec['units']!r:.200}, expected an int above 0"
            )
        spec |= {"use_residual": True} if config.get("use_residual") else {}
        self._arguments["dense"].append(spec)
        for name, array in tasks.read_tensors(self._files, f"{path}model.safetensors").items():
            self._tensors[f"dense_{number}/{name}"] = array

    def _normalize(self, path: str) -> None:
        self._arguments["normalize"] = True

    def stored(self) -> StoredTask:
        """Returns the task."""
        settings, config = self._json(_SETTINGS), self._json(_CONFIG)
        prompts = config.get("prompts") or {}
        if not isinstance(prompts, dict):
            raise PresetConfigError(_CONFIG, f"prompts is {prompts!r:.200}, expected texts by name")
        arguments = self._arguments | {
            "prompts": {name: text for name, text in prompts.items() if isinstance(text, str)},
            "default_prompt_name": config.get("default_prompt_name"),
            "truncate_dim": config.get("truncate_dim"),
            "similarity_fn_name": config.get("similarity_fn_name") or "cosine",
        }
        length = length_of(_SETTINGS, "max_seq_length", settings.get("max_seq_length"))
        return StoredTask(arguments, self._tensors, _rules, length, file=_CONFIG)

    def _json(self, name: str) -> Mapping[str, Any]:
        try:
            return self._files.json(name).value
        except PresetNotFoundError:
            return {}


def _rules(task: Any) -> dict[str, TensorRule]:
    rules = {}
    for name in task.head_weights():
        layer, _, variable = name.partition("/")
        is_kernel, number = variable == "kernel", layer.removesuffix(f"_{_SHORTCUT}")
        matrix = _LINEAR if layer == number else _SHORTCUT
        rules[name] = TensorRule(f"{number}/{matrix}.{'weight' if is_kernel else 'bias'}", transpose=is_kernel)
    return rules


def export(task: Any) -> TaskExport:
    """Returns what the task adds to a transformers checkpoint: the modules of Sentence Transformers.

    Raises:
        FormatLimitError: the task is no embedder or reranker, or has an activation that torch has no class for.
    """
    from vertebra_text.task_files import transformers

    if hasattr(task, "score"):
        return transformers.export(task)
    if not hasattr(task, "pooling_mode"):
        raise FormatLimitError("sentence-transformers", "task", type(task).task_name(), "save it as transformers")
    classes = {name: torch for torch, name in ACTIVATIONS.items()}
    for spec in task.dense:
        if spec.get("activation") not in classes:
            problem = f"the activations of its dense layers are {', '.join(map(str, classes))}"
            raise FormatLimitError("sentence-transformers", "activation", spec.get("activation"), problem)
    return TaskExport(lambda folder: _write(task, folder, classes))


def _write(task: Any, folder: Path, classes: Mapping[Any, str]) -> None:
    """Writes the modules as releases from 3 on read them."""
    outputs = task.backbone.output
    width = (outputs["sequence_output"] if isinstance(outputs, Mapping) else outputs).shape[-1]
    modes = [task.pooling_mode] if isinstance(task.pooling_mode, str) else list(task.pooling_mode)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    pooling = {"word_embedding_dimension": width, "include_prompt": task.include_prompt}
    pooling |= {field: mode in modes for mode, field in _OLD_MODES.items()}
    if modes != [mode for mode in _OLD_MODES if mode in modes]:  # an order that older releases cannot have
        pooling = {"embedding_dimension": width, "pooling_mode": modes, "include_prompt": task.include_prompt}
    _dump(folder / "1_Pooling" / "config.json", pooling)
    width *= len(modes)
    for number, spec in enumerate(task.dense):
        name = f"{len(modules)}_Dense"
        modules.append((name, "Dense"))
        _dump(folder / name / "config.json", _dense_config(spec, width, classes))
        tasks.write_tensors(folder / name / "model.safetensors", _dense_tensors(task, number))
        width = spec["units"]
    if task.normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    (folder / MODULES).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    _dump(folder / _CONFIG, _settings(task))
    _dump(
        folder / _SETTINGS,
        {"max_seq_length": getattr(task.preprocessor, "sequence_length", None), "do_lower_case": False},
    )


def _dense_config(spec: Mapping[str, Any], width: int, classes: Mapping[Any, str]) -> dict[str, Any]:
    name = classes[spec.get("activation")]
    module = "linear" if name == "Identity" else "activation"
    return {
        "in_features": width,
        "out_features": spec["units"],
        "bias": spec.get("use_bias", True),
        "activation_function": f"torch.nn.modules.{module}.{name}",
        **({"use_residual": True} if spec.get("use_residual") else {}),
    }


def _dense_tensors(task: Any, number: int) -> dict[str, Any]:
    """Returns the tensors of a dense layer, by the peer's names."""
    import keras
    import numpy as np

    weights, tensors = task.head_weights(), {}
    for name, rule in _rules(task).items():
        layer, _, tensor = rule.tensor.partition("/")
        if layer == f"dense_{number}":
            array = keras.ops.convert_to_numpy(weights[name].value)
            tensors[tensor] = np.ascontiguousarray(array.T if rule.transpose else array)
    return tensors


def _settings(task: Any) -> dict[str, Any]:
    return {
        "prompts": dict(task.prompts),
        "default_prompt_name": task.default_prompt_name,
        "similarity_fn_name": task.similarity_fn_name,
        **({} if task.truncate_dim is None else {"truncate_dim": task.truncate_dim}),
    }


def _dump(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
