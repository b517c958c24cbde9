"""Presets in the subfolders of a folder that is no preset itself, for messages.

Such folders are checkpoints of a training run (`checkpoint-500/`), pipelines of several models (`text_encoder/`), and
models of Sentence Transformers before 3.0 (`0_Transformer/`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from vertebra._resolve.preset_folder import CONFIG, PresetFolder
from vertebra._system.strict_json import read_json
from vertebra.errors import PresetNotFoundError, VertebraError
from vertebra.handles import PresetHandle

_MOST_READ = 40
"""Most configs that are read."""
_MOST_NAMED = 5
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)


def no_config(folder: PresetFolder, is_preset: Callable[[Mapping[str, Any]], bool]) -> PresetNotFoundError:
    """Returns the error for a folder without a config; it names the subfolders that hold a preset, or an archive.

    Args:
        folder: The folder.
        is_preset: Returns whether a config is that of a preset, and not of another part, such as pooling.
    """
    end = f"/{CONFIG}"
    inside = sorted((name.removesuffix(end) for name in folder.names if name.endswith(end)), key=_newest_first)
    found = [name for name in inside[:_MOST_READ] if _holds_preset(folder, name, is_preset)]
    problem = f"it has no {CONFIG}"
    archives = sorted(filter(_ARCHIVE.search, folder.names))
    if not found and archives:
        problem += f", but the archive {archives[0]}"
        return PresetNotFoundError(folder.handle, problem, remedy="Unpack it, and load the folder with its config.json")
    if not found:
        return PresetNotFoundError(folder.handle, problem)
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    problem += f", but there are presets in its subfolders {', '.join(found[:_MOST_NAMED])}{more}"
    handles = [str(handle) for name in found[:_MOST_NAMED] if (handle := _handle_of(folder, name)) is not None]
    remedy = "Load the subfolder that you mean, by its own path or handle"
    return PresetNotFoundError(folder.handle, problem, handles, remedy)


def _newest_first(name: str) -> tuple[tuple[int, str], ...]:
    """Returns a sort key by which `checkpoint-1000` comes before `checkpoint-500`."""
    pieces = re.findall(r"(\d+)|(\D+)", name)
    return tuple((-int(digits), "") if digits else (0, text) for digits, text in pieces)


def _holds_preset(folder: PresetFolder, name: str, is_preset: Callable[[Mapping[str, Any]], bool]) -> bool:
    with contextlib.suppress(VertebraError, OSError):  # an unreadable config is no preset's
        return is_preset(read_json(folder.fetch(f"{name}/{CONFIG}")))
    return False


def _handle_of(folder: PresetFolder, name: str) -> PresetHandle | None:
    """Returns the handle of a subfolder, or None if the source has no handles for subfolders."""
    with contextlib.suppress(VertebraError):
        handle = replace(folder.located, path=f"{folder.located.path}/{name}")
        folder.source.unpinned(handle)
        return handle
    return None
