"""Weights under other names than those that a load reads: what a folder has instead, and which files convert reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from vertebra._discovery.extras import install_command
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._weights.file_kind import FileKind
from vertebra._weights.pickles.file_kind import PICKLE, PICKLE_INDEX, PickleKind
from vertebra._weights.safetensors.file_kind import INDEX, SAFETENSORS, WEIGHTS, SafetensorsKind
from vertebra.errors import WeightsFileError, WeightsNotFoundError
from vertebra.errors.base import shorten
from vertebra.file_names import CERTIFICATE, TORCH_SUFFIXES

_MOST_NAMES = 5
_USUAL_STEMS = ("model-", "pytorch_model-")
_SHARD = re.compile(r"(?P<stem>.+?)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.safetensors|\.bin)")
_VARIANT = re.compile(r"(model|pytorch_model)\.[\w-]+\.(safetensors|bin)|[\w.-]+\.index\.[\w-]+\.json")
_TRAINING_RUN = re.compile(r"(optimizer|scheduler|scaler|rng_state.*|training_args)\.(bin|pt|pth)|trainer_state\.json")
_ADAPTER = re.compile(r"adapter_(model|config)\..*|.*\.lora\.(h5|safetensors)")
_ORIGINAL = re.compile(r"consolidated.*\.(pth|safetensors)")
_PICKLE = re.compile(rf".+({'|'.join(map(re.escape, TORCH_SUFFIXES))})")


@dataclass(frozen=True, slots=True)
class _Group:
    """Files of one kind that a preset may have instead of its weights."""

    pattern: re.Pattern[str]
    meaning: str
    remedy: str


_GROUPS = (
    _Group(
        _ADAPTER,
        "an adapter, without its base model",
        "Load the base model with from_preset, and then the adapter with load_lora_weights",
    ),
    _Group(
        _TRAINING_RUN,
        "the state of a training run, without the model",
        "Save the model itself with save_pretrained or the trainer's save_model",
    ),
    _Group(
        _ORIGINAL,
        "the layout of the model's authors, whose tensors have other names",
        f"Use the checkpoint in transformers' layout, which has {WEIGHTS}",
    ),
    _Group(
        re.compile(r"tf_model.*\.h5|.*\.ckpt\.(index|meta|data.*)|.*\.pb"),
        "weights of TensorFlow",
        "Load them in transformers 4 with from_tf=True, and save them with save_pretrained",
    ),
    _Group(
        re.compile(r".*\.msgpack(\.index\.json)?"),
        "weights of Flax",
        "Load them in transformers 4 with from_flax=True, and save them with save_pretrained",
    ),
    _Group(
        re.compile(r".*\.(gguf|ggml)"),
        "weights of llama.cpp",
        "Load them in transformers with from_pretrained(..., gguf_file=...), and save them with save_pretrained",
    ),
    _Group(
        re.compile(r".*\.(onnx|onnx_data|tflite|engine|mlmodel)|openvino_model\..*"),
        "an exported program",
        "Use the checkpoint from which it was exported",
    ),
    _Group(
        re.compile(r".*\.(weights\.h5|h5|keras)"),
        "weights of Keras",
        "Save the model as a preset: a weights file alone does not say of which layers it is",
    ),
    _Group(_PICKLE, "pickles of torch, which can run code", ""),
    _Group(re.compile(r".*\.safetensors"), "safetensors under other names", ""),
)
"""The first group whose pattern the name of a file matches is its own."""


def no_weights(folder: PresetFolder, kind: FileKind) -> WeightsNotFoundError:
    """Returns the error for a preset without weights under the names that a load reads.

    The error names the files that the preset has instead, and the remedy.
    """
    problem = f"it is missing, and so is {kind.index}"
    remedy = "Save the preset again with its weights"
    groups = _groups(folder.names)
    install = format_to_install([name for _, names in groups for name in names])
    if groups:
        shown = "; ".join(f"{shorten(names, _MOST_NAMES)} ({group.meaning})" for group, names in groups)
        problem += f". The preset has {shown}{_incomplete_shards(folder.names)}"
        remedy = install or next((group.remedy for group, _ in groups if group.remedy), remedy)
    if kind is SAFETENSORS and len(found := weights_to_convert(folder.names)) == 1:
        remedy = f"To read {_names(found[0], folder.names)}, run: vertebra convert {folder.requested} TARGET"
    if inner := _inner_presets(folder.names, kind):
        problem += f". These folders in it have weights: {', '.join(inner)}"
        remedy = f"Load {folder.requested}/{inner[0]}" if not groups else remedy
    return WeightsNotFoundError(kind.weights, problem, remedy)


def format_to_install(names: Iterable[str]) -> str | None:
    """Returns how to install the format of plugins in which some files are, by their suffixes, or None."""
    suffixes = dict.fromkeys(name.rpartition(".")[2].lower() for name in names)
    command = next(filter(None, map(install_command, suffixes)), None)
    return None if command is None else f"Install the plugin that reads such files with: {command}"


def choose_weights(folder: PresetFolder) -> tuple[FileKind, str] | None:
    """Returns the weights that convert reads if a preset has none under the names that a load reads.

    Returns:
        The kind of weights file, with the names of the files, and a note that names them; None if there are none.

    Raises:
        WeightsFileError: it is ambiguous which files are the weights.
    """
    found = weights_to_convert(folder.names)
    if len(found) > 1:
        shown = ", ".join(_names(kind, folder.names) for kind in found)
        remedy = f"Rename the one to be read to {WEIGHTS} or {PICKLE}, in a copy of the folder"
        raise WeightsFileError(WEIGHTS, f"it is missing, and several files may be meant: {shown}", remedy)
    return (found[0], f"its weights are read from {_names(found[0], folder.names)}") if found else None


def found_weights(names: Iterable[str]) -> list[str]:
    """Returns the files of a folder, without its subfolders, that hold the weights of a model in any format."""
    top = (name for name in sorted(names) if "/" not in name and not _is_other(name))
    return [name for name in top if any(group.pattern.fullmatch(name) for group in _GROUPS)]


def weights_to_convert(names: Iterable[str]) -> list[FileKind]:
    """Returns the weights that convert reads: the first set of alternatives that a preset has, best first."""
    top = sorted(name for name in names if "/" not in name)
    singles = [name for name in top if not (_SHARD.fullmatch(name) or _is_other(name))]
    variants = [name for name in singles if _VARIANT.fullmatch(name)]
    alternatives: list[list[FileKind]] = [
        _complete_shards(top, ".safetensors"),
        [PickleKind(PICKLE, PICKLE_INDEX)] if {PICKLE, PICKLE_INDEX}.intersection(top) else [],
        _complete_shards(top, ".bin"),
        [kind for name in variants if (kind := _single(name)) is not None],
        [SafetensorsKind(name, INDEX) for name in singles if name.endswith(".safetensors")],
        [PickleKind(name, PICKLE_INDEX) for name in singles if _PICKLE.fullmatch(name)],
    ]
    return next(filter(None, alternatives), [])


def _single(name: str) -> FileKind | None:
    """Returns the kind of a file, or of an index, of a variant such as fp16."""
    is_index = name.endswith(".json")
    if name.startswith("pytorch_model."):
        return PickleKind(PICKLE, name) if is_index else PickleKind(name, PICKLE_INDEX)
    if name.startswith("model."):
        return SafetensorsKind(WEIGHTS, name) if is_index else SafetensorsKind(name, INDEX)
    return None


def _is_other(name: str) -> bool:
    return name == CERTIFICATE or any(pattern.fullmatch(name) for pattern in (_TRAINING_RUN, _ADAPTER, _ORIGINAL))


def _complete_shards(names: Iterable[str], suffix: str) -> list[FileKind]:
    """Returns each complete set of shards that has no index; those of a variant only if there are no others."""
    sets = [shards for shards in _shard_sets(names) if shards[0].endswith(suffix) and not _missing(shards)]
    sets = [shards for shards in sets if shards[0].startswith(_USUAL_STEMS)] or sets
    if suffix == ".bin":
        return [PickleKind(PICKLE, PICKLE_INDEX, shards) for shards in sets]
    return [SafetensorsKind(WEIGHTS, INDEX, shards) for shards in sets]


def _shard_sets(names: Iterable[str]) -> list[list[str]]:
    """Returns the sets of shards, sorted, by their names alone."""
    sets: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(names):
        match = _SHARD.fullmatch(name)
        if match and not _is_other(name):
            sets.setdefault(match.group("stem", "count", "suffix"), []).append(name)
    return list(sets.values())


def _missing(shards: list[str]) -> list[str]:
    """Returns the first shards that are missing from a set."""
    stem, count, suffix = _SHARD.fullmatch(shards[0]).group("stem", "count", "suffix")  # type: ignore[union-attr]
    wanted = (f"{stem}-{number:05}-of-{count}{suffix}" for number in range(1, int(count) + 1))
    present = set(shards)
    return list(islice((name for name in wanted if name not in present), _MOST_NAMES))


def _incomplete_shards(names: Iterable[str]) -> str:
    missing = [name for shards in _shard_sets(names) for name in _missing(shards)]
    return f", without {shorten(missing, _MOST_NAMES)}" if missing else ""


def _groups(names: Iterable[str]) -> list[tuple[_Group, list[str]]]:
    """Sorts the files of a preset into groups, in the order of `_GROUPS`; names in folders are included."""
    groups: dict[int, list[str]] = {}
    for name in sorted(names):
        file = name.rpartition("/")[2]
        if file != CERTIFICATE:
            index = next((index for index, group in enumerate(_GROUPS) if group.pattern.fullmatch(file)), None)
            groups.setdefault(-1 if index is None else index, []).append(name)
    return [(_GROUPS[index], groups[index]) for index in sorted(groups) if index >= 0]


def _inner_presets(names: Iterable[str], kind: FileKind) -> list[str]:
    """Returns the folders in a preset that have weights under the names that a load reads."""
    files = (name.rpartition("/") for name in sorted(names))
    return [folder for folder, _, file in files if folder and file in (kind.weights, kind.index)]


def _names(kind: FileKind, names: set[str]) -> str:
    if kind.shards:
        return f"{kind.shards[0]} to {kind.shards[-1]}" if len(kind.shards) > 1 else kind.shards[0]
    return kind.weights if kind.weights in names else kind.index
