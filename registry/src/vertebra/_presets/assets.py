"""Assets: the files of a preset other than config and weights, such as a tokenizer, copied into another preset."""

from __future__ import annotations

import contextlib
import dataclasses
import filecmp
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra._formats import native
from vertebra._formats.format import Format
from vertebra._formats.registry import format_of_preset, formats
from vertebra._presets.asset_names import CARRIED, MODULES, REPLACED, is_of_task, module_folders, target_names
from vertebra._presets.model_card import CARD, is_generated
from vertebra._resolve.filenames import unsafe_names
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.foreign_json import read_foreign_json
from vertebra._system.links import outside_store, targets_outside
from vertebra._system.log import log
from vertebra._system.regular_files import open_regular, problem_of
from vertebra._tasks.preset_files import LocalFiles
from vertebra._tasks.tokenizers import TranslatedTokenizer, same_tokens, translate_tokenizer, write_files
from vertebra._weights.file_kind import FileKind
from vertebra.errors import OfflineError, PresetConfigError, WeightsFileError
from vertebra.file_names import CERTIFICATE, CONFIG, SIGNATURE

_OTHER_WEIGHTS = "other weights"
_TRAINING_RUN = "of a training run"
_FOLDERS = {
    _OTHER_WEIGHTS: re.compile(r"onnx|openvino|coreml|tflite|saved_model", re.IGNORECASE),
    _TRAINING_RUN: re.compile(r"checkpoint-\d+|global_step\d+|runs", re.IGNORECASE),
}
"""Folders whose files are not carried, by the reason shown to the user."""
_FILES = {
    _TRAINING_RUN: re.compile(
        r"trainer_state\.json|events\.out\.tfevents.*|(training_args|optimizer|scheduler|scaler|rng_state.*)\.(bin|pt|pth)",
        re.IGNORECASE,
    ),
    _OTHER_WEIGHTS: re.compile(
        r".*\.(safetensors|bin|pt|pth|ckpt|h5|hdf5|msgpack|npz|pkl|pickle|ot|onnx|onnx_data|gguf|ggml|tflite|pb|keras)"
        r"|.*\.(safetensors|bin|h5|msgpack)\.index(\..*)?\.json|.*\.ckpt\..*|model\.weights\.json",
        re.IGNORECASE,
    ),
    "a signature of other files": re.compile(re.escape(SIGNATURE)),
}
"""Files that are not carried, by the reason shown to the user."""
_CARRIED_WEIGHTS = re.compile(
    r"task\.weights\.h5|task\.safetensors|adapter_model\.(safetensors|bin)|.*\.lora\.(safetensors|h5)", re.IGNORECASE
)
"""Weights files that are carried, because the backbone does not read them: those of tasks and of adapters."""
_BLOCK = 2**20
_MOST_NAMES = 100
"""Most file names in a message, for each reason."""
_HIDDEN = "a hidden file"
_OTHER_PRESET = "of another preset"
_GENERATED_CARD = "a model card that was generated for the source"
_OTHER_CARD = "a model card of other weights"
NOT_LOCAL = "not on this machine"

Locate = Callable[[Sequence[str]], Sequence[Path | str]]
"""Returns, for each of several files of a preset, its local path or the reason why it cannot be carried."""


@dataclass(frozen=True, slots=True)
class CarriedAssets:
    """The result of carrying a preset's assets into another preset."""

    source: str | None
    """The handle of the preset that has the assets, or None if there is none."""
    carried: dict[str, str]
    """The new name of each carried file, by its name in the source."""
    left_out: dict[str, str]
    """The reason for each file that was not carried, by its name in the source."""
    fields_left_out: tuple[str, ...]
    """Fields of the source's config that the target's config lacks."""
    links: Mapping[str, str] = field(default_factory=dict)
    """The copied file of each carried link that leads out of the source's folder, by its name in the source."""
    tokenizer: tuple[str, ...] = ()
    """The files of the tokenizer that were written in the target's format."""
    notes: tuple[str, ...] = ()
    """Differences of that tokenizer from the source's, or why it was not translated."""

    def __str__(self) -> str:
        reasons: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            reasons.setdefault(reason, []).append(name)
        if self.fields_left_out:
            reasons["fields of its config"] = list(self.fields_left_out)
        return "; ".join(f"{_join_names(names)} ({reason})" for reason, names in reasons.items())


@dataclass(frozen=True, slots=True)
class Assets:
    """The assets of one preset, selected for another preset."""

    source: str | None = None
    """The handle of the preset that has the assets."""
    carried: dict[str, str] = field(default_factory=dict)
    """The new name of each carried file, by its name in the source."""
    left_out: dict[str, str] = field(default_factory=dict)
    """The reason for each file that is not carried, by its name in the source."""
    original: Mapping[str, Any] = field(default_factory=dict)
    """The source's config in the target's format, kept from an earlier conversion; empty if there is none."""
    files: dict[str, tuple[Path, int]] = field(default_factory=dict)
    """Local path and listed size in bytes of each carried file, by its name in the source."""
    config_folder: Path | None = None
    """The folder of the source's config."""
    links: Mapping[str, str] = field(default_factory=dict)
    """The file to which each carried link leads that leads out of the source's folder, by its name in the source."""
    tokenizer: TranslatedTokenizer | None = None
    """The tokenizer in the target's format, if the source's files are not in it."""
    module_folders: tuple[str, ...] = ()
    """The folders of the modules of Sentence Transformers."""
    folder: PresetFolder | None = None
    """The preset: files that were unpacked of its one file exist as long as this object."""

    @property
    def paths(self) -> dict[str, Path]:
        """The local paths of the carried files, by their names in the source, and of the source's config."""
        config = {} if self.config_folder is None else {CONFIG: self.config_folder / CONFIG}
        return config | {name: path for name, (path, _) in self.files.items()}

    def copy(self, stage: Path) -> Assets:
        """Copies the files into a folder, one block at a time; never overwrites a file.

        Returns:
            These assets, with the files that were not copied because of a name clash moved to `left_out`.

        Raises:
            PresetConfigError: a file cannot be read, or changed while it was copied.
        """
        root = stage.resolve()
        replaced: dict[str, str] = {}
        for name, new in self.carried.items():
            (path, size), target = self.files[name], stage / new
            if os.path.lexists(target) or not target.resolve().is_relative_to(root):  # a link of the user's own
                replaced |= {} if _has_same_bytes(path, target) else {name: REPLACED}
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, target)
            if target.stat().st_size != size:
                problem = f"it has {target.stat().st_size:,} bytes, expected {size:,} from the file list"
                raise PresetConfigError(path, problem, "Try again when no other program writes to the preset")
        if self.tokenizer is not None:
            write_files(self.tokenizer.files, stage)
        carried = {name: new for name, new in self.carried.items() if name not in replaced}
        return dataclasses.replace(self, carried=carried, left_out=self.left_out | replaced)

    def without_task(self) -> Assets:
        """Returns these assets without the files of a task, which the target has in its own form."""
        names = [name for name in (*self.carried, *self.left_out) if is_of_task(name, self.module_folders)]
        kept = {name: new for name, new in self.carried.items() if name not in names}
        left_out = {name: reason for name, reason in self.left_out.items() if name not in names}
        return dataclasses.replace(self, carried=kept, left_out=left_out)

    def with_written(self, names: Collection[str]) -> Assets:
        """Returns these assets if a task has written files of these names: none of them is left out."""
        left_out = {name: reason for name, reason in self.left_out.items() if name not in names}
        return dataclasses.replace(self, left_out=left_out)

    @property
    def has_tokenizer(self) -> bool:
        """Whether the target has the tokenizer of the source, in a form that its readers understand."""
        return self.tokenizer is None or bool(self.tokenizer.files)

    def outcome(self, target: Path, fields_left_out: Sequence[str]) -> CarriedAssets:
        """Returns the result once the target is complete.

        If the target replaced the source itself, a file that is still in the folder does not count as left out.
        """
        in_place = (
            self.config_folder is not None and self.config_folder.exists() and self.config_folder.samefile(target)
        )
        left_out = {
            name: reason
            for name, reason in sorted(self.left_out.items())
            if not (in_place and os.path.lexists(target / name))
        }
        copied = [name for name, new in self.carried.items() if not (target / new).is_symlink()]
        links = {name: self.links[name] for name in copied if name in self.links}
        tokenizer = self.tokenizer or TranslatedTokenizer({})
        more = tuple(sorted(tokenizer.files)), tuple(tokenizer.notes)
        return CarriedAssets(self.source, dict(self.carried), left_out, tuple(fields_left_out), links, *more)


def select_assets(
    folder: PresetFolder, format: str, locate: Locate, same_weights: bool = True, kind: FileKind | None = None
) -> Assets:
    """Decides which assets of a preset are carried into another preset, and under which names.

    Args:
        folder: The preset that has the assets.
        format: The format of the target.
        locate: Locates files; called for the carried files, and for the files that this decision is based on.
        same_weights: Whether the target has the weights that the model card in `folder` describes.
        kind: The kind of weights file that was read, or None for that of the preset's format.

    Raises:
        PresetConfigError: the preset is in no known format.
    """
    if not folder.is_complete:
        problem = "its file list is incomplete: only its local files are known, and other files are not carried"
        log.warning("%s: %s", folder.handle, problem)
    config = _config(folder, locate)
    source = format_of_preset(read_foreign_json(config).value)
    if source is None:
        raise PresetConfigError(config, f"it is in no known preset format ({', '.join(formats())})")
    weights = _weights(folder, kind or folder.single_file or source.FILES, locate)
    assets = folder.names - {*source.WRITES, CERTIFICATE} - weights
    modules = module_folders(_local_path(folder, MODULES, locate))
    others = _other_presets(folder.names, modules)
    prefix = f"{CARRIED}/{format}/"
    reasons = {name: _reason_to_leave_out(name.removeprefix(prefix), modules, others) for name in sorted(assets)}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    if not same_weights and CARD in assets:
        left_out[CARD] = _OTHER_CARD
    wanted = sorted(assets - left_out.keys())
    if source.KEEPS_CONFIG:
        wanted.append(CONFIG)
    located = dict(zip(wanted, locate(wanted), strict=True))
    left_out |= {name: reason for name, reason in located.items() if isinstance(reason, str)}
    paths = {name: path for name, path in located.items() if isinstance(path, Path)}
    if CARD in paths and is_generated(paths[CARD]):
        left_out[CARD] = _GENERATED_CARD
        del paths[CARD]
    original = _take_original(paths, source, formats()[format])
    carried, replaced = target_names(paths, source.NAME, format)
    unsafe = unsafe_names([*carried.values(), *formats()[format].WRITES])
    left_out |= replaced | folder.left_out | {name: unsafe[new] for name, new in carried.items() if new in unsafe}
    links = {} if folder.source.is_remote else targets_outside({name: paths[name] for name in carried})
    planted = outside_store(links, filter(None, map(folder.find, {CONFIG, *weights})), config.parent) if links else {}
    left_out |= {name: f"it is a link that leads out of the folder, to {to}" for name, to in planted.items()}
    carried = {name: new for name, new in carried.items() if new not in unsafe and name not in planted}
    sizes = {file.name: file.size for file in folder.files}  # the listing has no file that was unpacked
    files = {name: (paths[name], sizes.get(name, paths[name].stat().st_size)) for name in carried}
    # A native preset holds the files of any other format.
    stays = format in (source.NAME, native.NAME)
    tokenizer = None if stays else _translated(folder, format, config, carried, paths)
    found = (str(folder.handle), carried, left_out, original, files, config.parent, links, tokenizer, modules)
    return Assets(*found, folder)


def _translated(
    folder: PresetFolder, format: str, config: Path, carried: Mapping[str, str], paths: Mapping[str, Path]
) -> TranslatedTokenizer | None:
    """Returns the tokenizer in the target's format, or None if the carried files are in it already.

    Those that an earlier conversion kept are restored, unless the tokenizer has changed since.
    """
    restored = {new: paths[name] for name, new in carried.items()}
    own, kept = (LocalFiles(folder.handle, {CONFIG: config, **files}) for files in (paths, restored))
    if any(name.startswith(f"{CARRIED}/{format}/") for name in carried) and same_tokens(own, kept):
        return None
    return translate_tokenizer(own, format)


# === Which files ===


def _config(folder: PresetFolder, locate: Locate) -> Path:
    path = _local_path(folder, CONFIG, locate)
    if path is None:
        raise OfflineError(folder.handle, [CONFIG], "saving uses no network")
    return path


def _local_path(folder: PresetFolder, name: str, locate: Locate) -> Path | None:
    """Returns the local path of a file, or None if the preset lacks the file or it cannot be read."""
    (path,) = locate([name]) if name in folder.names else ("",)
    return path if isinstance(path, Path) else None


def _weights(folder: PresetFolder, kind: FileKind, locate: Locate) -> set[str]:
    """Returns the names of the weights files that a load reads, and of their index."""
    names = kind.used(folder.names)
    index = _local_path(folder, kind.index, locate) if kind.index in names else None
    if index is not None:
        with contextlib.suppress(WeightsFileError):  # loading the preset reports the problem
            names |= kind.find(folder.names, lambda _: index).shards.keys()
    return names


def _other_presets(names: set[str], module_folders: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the subfolders that hold another preset: they have a config and weights, and are no module's folder."""
    weights = [
        name
        for name in names
        if _FILES[_OTHER_WEIGHTS].fullmatch(file := name.rpartition("/")[2]) and not _CARRIED_WEIGHTS.fullmatch(file)
    ]
    folders = {name.rpartition("/")[0] for name in weights}
    subfolders = [f"{folder}/" for folder in sorted(folders) if folder and f"{folder}/{CONFIG}" in names]
    return tuple(folder for folder in subfolders if not folder.startswith(module_folders))


def _reason_to_leave_out(name: str, module_folders: tuple[str, ...], other_presets: tuple[str, ...]) -> str | None:
    """Returns the reason why a file of this name is not carried, or None if it is carried."""
    *folders, file = name.split("/")
    if any(part.startswith(".") for part in (*folders, file)):
        return _HIDDEN
    if name.startswith(other_presets):
        return _OTHER_PRESET
    if _CARRIED_WEIGHTS.fullmatch(file) or name.startswith(module_folders):
        return None
    for reason, pattern in _FOLDERS.items():
        if any(pattern.fullmatch(folder) for folder in folders):
            return reason
    return next((reason for reason, pattern in _FILES.items() if pattern.fullmatch(file)), None)


# === Which names ===


def _take_original(paths: dict[str, Path], source: Format, target: Format) -> Mapping[str, Any]:
    """Removes the kept config of the target's format from `paths` and returns it, for the writer of the new config."""
    name = CONFIG if source.NAME == target.NAME else f"{CARRIED}/{target.NAME}/{CONFIG}"
    path = paths.pop(name, None) if target.KEEPS_CONFIG else None
    return {} if path is None else read_foreign_json(path).value


def _copy(path: Path, target: Path) -> None:
    try:
        source = open_regular(path)
    except OSError as error:
        raise PresetConfigError(
            path, problem_of(error), "Make the file readable, or move it out of the preset"
        ) from error
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file, _BLOCK)


def _join_names(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + rest


def _has_same_bytes(path: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(path, other, shallow=False)
