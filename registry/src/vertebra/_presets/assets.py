"""Assets: the files of a preset besides its config and weights, such as a tokenizer's, carried into another preset.

An asset keeps its name where no reader of the target's format misunderstands it. Otherwise it is kept under
`carried/<format>/`, and gets its name back when a preset of that format is written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import filecmp
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from vertebra._formats import native
from vertebra._formats.registry import FORMATS, format_of
from vertebra._presets.certificate_header import CERTIFICATE
from vertebra._presets.model_card import CARD, is_generated
from vertebra._resolve.filenames import problem_with
from vertebra._resolve.preset_folder import CONFIG, PresetFolder
from vertebra._system.strict_json import read_json, read_json_array
from vertebra._weights.file_kind import FileKind
from vertebra.errors import OfflineError, PresetConfigError, WeightsFileError

CARRIED = "carried"
"""The folder for files whose names mean something else in the target's format."""
_TOKENIZER = "tokenizer.json"
"""Two formats have a file of this name, and mean different things by it."""
_MODULES = "modules.json"
"""Lists the parts of a model of Sentence Transformers, such as pooling after the backbone, each with its folder."""

_OTHER_WEIGHTS = "other weights"
_TRAINING = "of a training run"
_FOLDERS = {
    _OTHER_WEIGHTS: re.compile(r"onnx|openvino|coreml|tflite|saved_model", re.IGNORECASE),
    _TRAINING: re.compile(r"checkpoint-\d+|global_step\d+|runs", re.IGNORECASE),
}
"""Folders that are not carried, by the reason that is given."""
_FILES = {
    _TRAINING: re.compile(
        r"trainer_state\.json|events\.out\.tfevents.*|(training_args|optimizer|scheduler|scaler|rng_state.*)\.(bin|pt|pth)",
        re.IGNORECASE,
    ),
    _OTHER_WEIGHTS: re.compile(
        r".*\.(safetensors|bin|pt|pth|ckpt|h5|hdf5|msgpack|npz|pkl|pickle|ot|onnx|onnx_data|gguf|ggml|tflite|pb|keras)"
        r"|.*\.(safetensors|bin|h5|msgpack)\.index(\..*)?\.json|.*\.ckpt\..*|model\.weights\.json",
        re.IGNORECASE,
    ),
}
"""Files that are not carried, by the reason that is given."""
_PARTS = re.compile(r"task\.weights\.h5|adapter_model\.(safetensors|bin)|.*\.lora\.(safetensors|h5)", re.IGNORECASE)
"""Files of weights that are carried, because they are not the backbone's: of a KerasHub task, and of adapters."""
_BLOCK = 2**20
_MOST_NAMES = 100
"""How many names a text has for each reason."""
_HIDDEN = "a hidden file"
_ANOTHER = "of another preset"
_GENERATED = "a model card that was generated for the source"
_ABOUT_OTHERS = "a model card of other weights"
NOT_HERE = "not on this machine"
_REPLACED = "another file has its name in the target"

Locate = Callable[[Sequence[str]], Sequence[Path | str]]
"""Returns the local path of each of several files of a preset, or why it cannot be carried."""


@dataclass(frozen=True, slots=True)
class CarriedAssets:
    """The result of carrying a preset's assets into another preset."""

    source: str | None
    """The handle of the preset that they are from, or None if there is none."""
    carried: dict[str, str]
    """Name in the target of each file that was carried, by its name in the source."""
    left_out: dict[str, str]
    """Why a file was not carried, by its name in the source."""
    fields_left_out: tuple[str, ...]
    """Fields of the source's config that the target's config does not have."""

    def __str__(self) -> str:
        reasons: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            reasons.setdefault(reason, []).append(name)
        if self.fields_left_out:
            reasons["fields of its config"] = list(self.fields_left_out)
        return "; ".join(f"{_listed(names)} ({reason})" for reason, names in reasons.items())


@dataclass(frozen=True, slots=True)
class Assets:
    """The assets of a preset, chosen for another preset."""

    source: str | None = None
    """The handle of the preset."""
    carried: dict[str, str] = field(default_factory=dict)
    """Name in the target of each file that is carried, by its name in the source."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a file is not carried, by its name in the source."""
    original: Mapping[str, Any] = field(default_factory=dict)
    """The config that the source had when it was last in the target's format, as far as that format keeps it."""
    files: dict[str, tuple[Path, int]] = field(default_factory=dict)
    """Local path and listed bytes of each file that is carried, by its name in the source."""
    home: Path | None = None
    """The folder that the source's config is in."""

    def copy(self, stage: Path) -> Assets:
        """Copies the files into a folder, one block at a time; a file that is there already stays.

        Returns:
            The same, without the files that were not copied because another one of that name is there.

        Raises:
            PresetConfigError: a file cannot be read, or changed while it was copied.
        """
        root = stage.resolve()
        replaced: dict[str, str] = {}
        for name, new in self.carried.items():
            (path, size), target = self.files[name], stage / new
            if os.path.lexists(target) or not target.resolve().is_relative_to(root):  # a link of the user's own
                replaced |= {} if _same(path, target) else {name: _REPLACED}
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, target)
            if target.stat().st_size != size:
                problem = f"it has {target.stat().st_size:,} bytes, and {size:,} were listed"
                raise PresetConfigError(path, problem, "Try again when no program writes to the preset")
        carried = {name: new for name, new in self.carried.items() if name not in replaced}
        return dataclasses.replace(self, carried=carried, left_out=self.left_out | replaced)

    def outcome(self, target: Path, fields_left_out: Sequence[str]) -> CarriedAssets:
        """Returns the result once the target is complete; a file that is still in the target is not left out."""
        in_place = self.home is not None and self.home.exists() and self.home.samefile(target)
        left_out = {
            name: reason
            for name, reason in sorted(self.left_out.items())
            if not (in_place and os.path.lexists(target / name))
        }
        return CarriedAssets(self.source, dict(self.carried), left_out, tuple(fields_left_out))


def select_assets(folder: PresetFolder, format: str, locate: Locate, same_weights: bool = True) -> Assets:
    """Decides which assets of a preset go into a preset of another format, or of the same, and under which names.

    Args:
        folder: The source.
        format: The format of the target.
        locate: Finds files of the source; only files that are carried are asked for, and those that decide which are.
        same_weights: Whether the target has the weights that the source's model card tells of.

    Raises:
        PresetConfigError: the source is of no known format, or two files would have one name in the target.
    """
    if not folder.is_complete:
        problem = "only its files on this machine are known, so there may be others that are not carried"
        logging.getLogger("vertebra").warning("%s: %s", folder.handle, problem)
    config = _config(folder, locate)
    source = format_of(read_json(config))
    if source is None:
        raise PresetConfigError(config, f"it is of no known preset format ({', '.join(FORMATS)})")
    assets = folder.names - {*source.WRITES, CERTIFICATE} - _weights(folder, source.FILES, locate)
    modules = _module_folders(folder, locate)
    others = _other_presets(folder.names, modules)
    reasons = {name: _reason(name.removeprefix(f"{CARRIED}/{format}/"), modules, others) for name in sorted(assets)}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    if not same_weights and CARD in assets:
        left_out[CARD] = _ABOUT_OTHERS
    wanted = sorted(assets - left_out.keys())
    if source.KEEPS_CONFIG:
        wanted.append(CONFIG)
    found = dict(zip(wanted, locate(wanted), strict=True))
    left_out |= {name: reason for name, reason in found.items() if isinstance(reason, str)}
    paths = {name: path for name, path in found.items() if isinstance(path, Path)}
    if CARD in paths and is_generated(paths[CARD]):
        left_out[CARD] = _GENERATED
        del paths[CARD]
    original = _take_original(paths, source, FORMATS[format])
    carried, replaced = _arranged(paths, source.NAME, format)
    _check_names(folder, [*carried.values(), *FORMATS[format].WRITES])
    files = {file.name: (paths[file.name], file.size) for file in folder.files if file.name in carried}
    return Assets(str(folder.handle), carried, left_out | replaced, original, files, config.parent)


def name_in(format: str, name: str, source: str, path: Path) -> str | None:
    """Returns the name of a preset's file in a preset of another format, or None if that format writes such a file.

    Args:
        format: The format of the other preset.
        name: Name of the file.
        source: The format of the preset that has it.
        path: Where it is.
    """
    restored = name.removeprefix(f"{CARRIED}/{format}/")
    if restored in FORMATS[format].WRITES:
        return f"{CARRIED}/{source}/{name}" if restored == name and source != format else None
    if restored == _TOKENIZER and source != format and restored == name:
        owner = _reader_of_tokenizer(path, format, source)
        return name if owner == format else f"{CARRIED}/{owner}/{name}"
    return restored


# === Which files ===


def _config(folder: PresetFolder, locate: Locate) -> Path:
    path = _found(folder, CONFIG, locate)
    if path is None:
        raise OfflineError(folder.handle, [CONFIG], "no network is used while saving")
    return path


def _found(folder: PresetFolder, name: str, locate: Locate) -> Path | None:
    """Returns the local path of a file, or None if the preset does not have it or it cannot be read."""
    (path,) = locate([name]) if name in folder.names else ("",)
    return path if isinstance(path, Path) else None


def _module_folders(folder: PresetFolder, locate: Locate) -> tuple[str, ...]:
    """Returns the folders that `modules.json` names, whose weights are not the backbone's."""
    path = _found(folder, _MODULES, locate)
    with contextlib.suppress(PresetConfigError):  # one that cannot be read names no folders
        modules = [] if path is None else read_json_array(path)
        names = [str(module.get("path")) for module in modules if isinstance(module, dict)]
        return tuple(f"{name}/" for name in names if name.strip("./") and name.split("/")[0] != CARRIED)
    return ()


def _weights(folder: PresetFolder, kind: FileKind, locate: Locate) -> set[str]:
    """Returns the names of the weights files that are read, and of their index."""
    names = kind.used(folder.names)
    index = _found(folder, kind.index, locate) if kind.index in names else None
    if index is not None:
        with contextlib.suppress(WeightsFileError):  # loading tells what is wrong with it
            names |= kind.find(folder.names, lambda _: index)[1].keys()
    return names


def _other_presets(names: set[str], module_folders: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the folders that have a config and weights, and are no part of this model: others were saved there."""
    weights = [
        name
        for name in names
        if _FILES[_OTHER_WEIGHTS].fullmatch(file := name.rpartition("/")[2]) and not _PARTS.fullmatch(file)
    ]
    folders = {name.rpartition("/")[0] for name in weights}
    found = [f"{folder}/" for folder in sorted(folders) if folder and f"{folder}/{CONFIG}" in names]
    return tuple(folder for folder in found if not folder.startswith(module_folders))


def _reason(name: str, module_folders: tuple[str, ...], other_presets: tuple[str, ...]) -> str | None:
    """Returns why a file is not carried, as far as its name tells, or None if it is."""
    *folders, file = name.split("/")
    if any(part.startswith(".") for part in (*folders, file)):
        return _HIDDEN
    if name.startswith(other_presets):
        return _ANOTHER
    if _PARTS.fullmatch(file) or name.startswith(module_folders):
        return None
    for reason, pattern in _FOLDERS.items():
        if any(pattern.fullmatch(folder) for folder in folders):
            return reason
    return next((reason for reason, pattern in _FILES.items() if pattern.fullmatch(file)), None)


# === Which names ===


def _arranged(paths: Mapping[str, Path], source: str, format: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the new name of each file, and why some have none; files under `carried/` give way to others."""
    taken: dict[str, str] = {}
    replaced = {}
    for name in sorted(paths, key=lambda name: (not name.startswith(f"{CARRIED}/"), name)):
        new = name_in(format, name, source, paths[name])
        if new in taken:
            replaced[taken[new]] = _REPLACED
        if new is None:
            replaced[name] = _REPLACED
        else:
            taken[new] = name
    return dict(sorted((name, new) for new, name in taken.items())), replaced


def _reader_of_tokenizer(path: Path, format: str, source: str) -> str:
    """Returns the format whose readers understand a `tokenizer.json`: the target's, or another one."""
    content: Mapping[str, Any] = {}
    with contextlib.suppress(PresetConfigError):  # one that is larger than a config is no config
        content = read_json(path)
    if FORMATS[format].reads_tokenizer(content):
        return format
    foreign = [name for name in FORMATS if name != native.NAME]
    return next((name for name in foreign if FORMATS[name].reads_tokenizer(content)), source)


def _take_original(paths: dict[str, Path], source: ModuleType, target: ModuleType) -> Mapping[str, Any]:
    """Takes the config of the target's format out of the files: the writer of the target's config gets it."""
    name = CONFIG if source is target else f"{CARRIED}/{target.NAME}/{CONFIG}"
    path = paths.pop(name, None) if target.KEEPS_CONFIG else None
    return {} if path is None else read_json(path)


def _check_names(folder: PresetFolder, names: Sequence[str]) -> None:
    problem = problem_with(names)
    if problem:
        remedy = "Rename the file, or convert a copy of the preset without it"
        raise PresetConfigError(f"Preset {str(folder.handle)!r} in another format", problem, remedy)


def _copy(path: Path, target: Path) -> None:
    try:
        source = path.open("rb")
    except OSError as error:
        raise PresetConfigError(
            path, f"it cannot be read ({error.strerror})", "Make it readable, or move it"
        ) from error
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file, _BLOCK)


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + rest


def _same(path: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(path, other, shallow=False)
