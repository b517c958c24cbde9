"""Writes the files of a tokenizer into a preset's folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra.errors import ArgumentError, PresetFormatError, PresetSaveError
from vertebra_text.tokenizers.files import kerashub, transformers
from vertebra_text.tokenizers.files.kerashub_writing import kerashub_files
from vertebra_text.tokenizers.files.parts import TokenizerParts

_FORMATS = ("transformers", "kerashub", "native")
"""Formats of presets; a native preset has the files of transformers."""
_NO_LIMIT = int(1e30)
"""What transformers writes for a tokenizer without a limit."""
_NOT_CARRIED = ("auto_map", "name_or_path", "tokenizer_file", "vocab_file", "merges_file", "init_inputs", "is_local")
"""Fields that name code or paths, or that describe the machine of the author."""


def write_tokenizer(parts: TokenizerParts, preset_dir: str | Path, format: str) -> tuple[list[str], list[str]]:
    """Writes a tokenizer; `Tokenizer.save_to_preset` documents it.

    Returns:
        The names of the files, and the differences that the user should know.

    Raises:
        PresetFormatError: the format is not known.
        FormatLimitError: the format cannot represent the tokenizer.
        PresetSaveError: the files cannot be written.
    """
    if not isinstance(preset_dir, str | os.PathLike) or not os.fspath(preset_dir):
        raise ArgumentError("save_to_preset", "preset_dir", preset_dir, "a path")
    if "://" in os.fspath(preset_dir):
        raise PresetSaveError(preset_dir, "it is a handle", "Give the path of a folder of this machine")
    if format not in _FORMATS:
        raise PresetFormatError(f"Tokenizer to write at {str(preset_dir)!r}", f"format={format!r}", list(_FORMATS))
    target = Path(preset_dir)
    files, notes = kerashub_files(parts) if format == kerashub.NAME else (transformers_files(parts), [])
    try:
        _write(target, files)
    except OSError as error:
        problem = f"its files cannot be written ({error.strerror})"
        raise PresetSaveError(target, problem, "Choose a folder that you may write to") from error
    return sorted(files), notes


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    """Writes all files next to their names, and then renames them: a reader finds no file half-written."""
    stages = {name: target / f"{name}.tmp" for name in files}
    try:
        for name, data in files.items():
            stages[name].parent.mkdir(parents=True, exist_ok=True)
            with stages[name].open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for name, stage in stages.items():
            stage.replace(target / name)
    finally:
        for stage in stages.values():
            with contextlib.suppress(OSError):
                stage.unlink(missing_ok=True)


def transformers_files(parts: TokenizerParts) -> dict[str, bytes]:
    """Returns the files that transformers 4 and 5 read, by name."""
    special = {f"{role}_token": text for role, text in parts.special.items()}
    roles = () if parts.family is None else parts.family.special
    absent = {f"{role}_token": None for role in roles if role not in parts.special}  # else the class adds its default
    return {
        transformers.TOKENIZER: parts.backend.to_str(pretty=True).encode(),
        transformers.CONFIG: dump(_tokenizer_config(parts) | absent | special),
        transformers.SPECIAL_TOKENS: dump(special),
    }


def _tokenizer_config(parts: TokenizerParts) -> dict[str, Any]:
    carried = {} if parts.format != transformers.NAME else dict(parts.config)
    for name in _NOT_CARRIED:
        carried.pop(name, None)
    inputs = ["input_ids", *(["token_type_ids"] if parts.segments else []), "attention_mask"]
    config = (
        {"tokenizer_class": parts.class_name}
        | carried
        | {
            "model_max_length": _NO_LIMIT if parts.max_length is None else parts.max_length,
            "model_input_names": inputs,
            "padding_side": parts.padding_side,
            "truncation_side": parts.truncation_side,
            "clean_up_tokenization_spaces": parts.clean_up_spaces,
            **parts.options,
        }
    )
    if parts.backend.encode_special_tokens:
        config["split_special_tokens"] = True
    return config


def dump(value: object) -> bytes:
    """Returns JSON as transformers and KerasHub write it."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
