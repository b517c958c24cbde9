"""The names of assets in presets of another format.

An asset keeps its name unless readers of the target's format would misread a file of that name. Such an asset is
stored under `carried/<format>/`, and gets its name back when a preset of `<format>` is written.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra._formats import native
from vertebra._formats.registry import formats
from vertebra._system.strict_json import read_json, read_json_array
from vertebra.errors import PresetConfigError

CARRIED = "carried"
"""The folder for files whose names have another meaning in the target's format."""
_TOKENIZER, _TASK = "tokenizer.json", "task.json"
"""Two formats use these file names for different files."""
MODULES = "modules.json"
"""Lists the modules of a Sentence Transformers model, such as pooling after the backbone, each with its folder."""
_TASK_FILES = (
    *(_TASK, "task.safetensors", "task.weights.h5"),
    *(MODULES, "config_sentence_transformers.json", "sentence_bert_config.json"),
)
"""The files of a task in Vertebra's and KerasHub's formats, and in that of Sentence Transformers."""
_TOKENIZER_FILES = re.compile(
    r"tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|chat_template\.jinja"
    r"|vocab\.(txt|json|bpe)|merges\.txt|(tokenizer|spiece|spm|sentencepiece(\.bpe)?)\.model|assets/tokenizer/.+"
)
"""The files of a tokenizer in all formats."""
_CARRIED_NAME = re.compile(rf"{CARRIED}/[^/]+/")
REPLACED = "another file has this name in the target"


def is_of_task(name: str, module_folders: tuple[str, ...]) -> bool:
    """Returns whether a file describes a task, or holds its weights; such files contradict those of another task.

    Args:
        name: Name of the file, which may be below `carried/`.
        module_folders: The folders of the preset's modules, as `module_folders` returns them.
    """
    restored = _restored(name)
    return restored in _TASK_FILES or restored.startswith(module_folders)


def is_of_tokenizer(name: str) -> bool:
    """Returns whether a file is one of a tokenizer, by its name, which may be below `carried/`."""
    return _TOKENIZER_FILES.fullmatch(_restored(name)) is not None


def _restored(name: str) -> str:
    return _CARRIED_NAME.sub("", name, count=1) if name.startswith(CARRIED) else name


def module_folders(path: Path | None) -> tuple[str, ...]:
    """Returns the folders that a `modules.json` names; their files belong to other modules than the backbone."""
    with contextlib.suppress(PresetConfigError):  # a file that cannot be parsed names no folders
        modules = [] if path is None else read_json_array(path)
        names = [str(module.get("path")) for module in modules if isinstance(module, dict)]
        return tuple(f"{name}/" for name in names if name.strip("./") and name.split("/")[0] != CARRIED)
    return ()


def name_in(format: str, name: str, source: str, path: Path) -> str | None:
    """Returns the name of an asset in a preset of another format, or None if that format writes a file of its name.

    Args:
        format: The format of the other preset.
        name: Name of the asset.
        source: The format of the preset that has the asset.
        path: Local path of the asset.
    """
    restored = name.removeprefix(f"{CARRIED}/{format}/")
    if restored == _TASK and restored == name and source != format:
        return f"{CARRIED}/{source}/{name}"
    if restored in formats()[format].WRITES:
        return f"{CARRIED}/{source}/{name}" if restored == name and source != format else None
    if restored == _TOKENIZER and source != format and restored == name:
        owner = _reader_of_tokenizer(path, format, source)
        return name if owner == format else f"{CARRIED}/{owner}/{name}"
    return restored


def target_names(paths: Mapping[str, Path], source: str, format: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the new name of each carried file, and a reason for each other one.

    If two files get the same new name, the one from `carried/` is left out.
    """
    taken: dict[str, str] = {}
    replaced = {}
    for name in sorted(paths, key=lambda name: (not name.startswith(f"{CARRIED}/"), name)):
        new = name_in(format, name, source, paths[name])
        if new in taken:
            replaced[taken[new]] = REPLACED
        if new is None:
            replaced[name] = REPLACED
        else:
            taken[new] = name
    return dict(sorted((name, new) for new, name in taken.items())), replaced


def _reader_of_tokenizer(path: Path, format: str, source: str) -> str:
    """Returns the format whose readers understand a `tokenizer.json`, preferably the target's."""
    tokenizer: Mapping[str, Any] = {}
    with contextlib.suppress(PresetConfigError, OSError):  # larger than any config: not the config of a Keras object
        tokenizer = read_json(path)
    if formats()[format].reads_tokenizer(tokenizer):
        return format
    foreign = [name for name in formats() if name != native.NAME]
    return next((name for name in foreign if formats()[name].reads_tokenizer(tokenizer)), source)
