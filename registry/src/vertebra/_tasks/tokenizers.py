"""The tokenizer of a preset: reading it, facts about it, and its translation to another format."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._discovery.catalog import TOKENIZERS, catalog, imported
from vertebra._system.log import log
from vertebra._tasks.preset_files import free_path
from vertebra.errors import FormatLimitError, PresetFormatError, VertebraError, exception_text
from vertebra.specs import PresetFiles, PresetTokenizer, TextSample

if TYPE_CHECKING:
    import numpy as np

SENTENCES = ("A cat sits on the mat, and 12 dogs don't.", "Café ÉTÉ: naïve 東京!")
"""Texts with capitals, accents, digits, an apostrophe and another script: each is a step of some tokenizer."""


@dataclass(frozen=True, slots=True)
class FoundTokenizer:
    """The tokenizer of a preset."""

    tokenizer: PresetTokenizer | None = None
    """The tokenizer, or None if the preset has none, or it cannot be read."""
    problem: str | None = None
    """Why it cannot be read, or None."""


def tokenizer_classes() -> list[Any]:
    """Imports and returns the classes of tokenizers that plugins contribute, in order of name.

    Raises:
        PluginError: a class cannot be imported.
    """
    return [imported(entry, entry.value.tokenizer) for entry in catalog(TOKENIZERS)]


def find_tokenizer(files: PresetFiles) -> FoundTokenizer:
    """Reads the tokenizer of a preset; a failure is a fact about the preset, and no error."""
    try:
        found = next((kind for kind in tokenizer_classes() if kind.reads(files.names)), None)
        return FoundTokenizer() if found is None else FoundTokenizer(found.read(files))
    except (VertebraError, OSError) as error:
        return FoundTokenizer(problem=str(error))
    except Exception as error:  # of a plugin; the preset can be described and converted without its tokenizer
        return FoundTokenizer(problem=exception_text(error))


def describe_tokenizer(found: FoundTokenizer, rows: object) -> dict[str, Any] | None:
    """Returns facts about a tokenizer as JSON, or None if there is none.

    Args:
        found: The tokenizer.
        rows: The number of rows of the backbone's token table, if known.
    """
    if found.tokenizer is None:
        return None if found.problem is None else {"kind": None, "problem": found.problem}
    size = found.tokenizer.vocabulary_size()
    table = rows if type(rows) is int else None
    fits = None if table is None else size <= table
    return {**found.tokenizer.describe(), "problem": None, "table_rows": table, "fits_table": fits}


# === Translation ===


@dataclass(frozen=True, slots=True)
class TranslatedTokenizer:
    """The files of a tokenizer in another format, or the reason why there are none."""

    files: Mapping[str, bytes]
    """The content of each file, by name."""
    notes: Sequence[str] = ()
    """Differences of the translated tokenizer, or why it was not translated."""


def translate_tokenizer(files: PresetFiles, format: str) -> TranslatedTokenizer | None:
    """Returns the tokenizer of a preset in another format, or None if its files can stay as they are.

    They stay if readers of the format understand them, or if no installed plugin reads them.

    Args:
        files: The preset.
        format: The format of the target.
    """
    found = find_tokenizer(files)
    if found.problem is not None:
        return TranslatedTokenizer({}, [_not_translated(format, found.problem)])
    tokenizer = found.tokenizer
    formats = getattr(tokenizer, "formats", ())
    if tokenizer is None or not formats or format in formats:
        return None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            names = tokenizer.save_to_preset(Path(folder), format=format)
        except FormatLimitError as error:
            reason = f"{error.argument}={error.value!r}: {error.problem}"
            return TranslatedTokenizer({}, [_not_translated(format, reason)])
        except PresetFormatError as error:
            return TranslatedTokenizer({}, [_not_translated(format, str(error))])
        contents = {name: Path(folder, name).read_bytes() for name in names}
    return TranslatedTokenizer(contents, [str(warning.message) for warning in caught])


def _not_translated(format: str, reason: str) -> str:
    return f"the tokenizer was not translated to the {format} format, and its files were copied as they are: {reason}"


def same_tokens(one: PresetFiles, other: PresetFiles) -> bool:
    """Returns whether two presets have tokenizers with vocabularies of one size that give the same ids for a text."""
    first, second = (find_tokenizer(files).tokenizer for files in (one, other))
    if first is None or second is None or first.vocabulary_size() != second.vocabulary_size():
        return False
    ids = [tokenizer(list(SENTENCES))["token_ids"].tolist() for tokenizer in (first, second)]
    return bool(ids[0] == ids[1])


def write_files(files: Mapping[str, bytes], stage: Path) -> None:
    """Writes files into a folder, by name; replaces existing ones as `free_path` does."""
    for name, content in files.items():
        free_path(stage, name).write_bytes(content)


# === Samples ===


def sample_of_tokenizer(
    files: PresetFiles, backbone_inputs: Mapping[str, np.ndarray[Any, Any]], max_length: int | None, rows: int | None
) -> TextSample | None:
    """Returns texts and the inputs that a preset's tokenizer makes of them, or None if a backbone cannot take these.

    Args:
        files: The preset.
        backbone_inputs: A sample of the backbone's inputs, for their names and dtypes.
        max_length: The most tokens of a text that the backbone takes, or None.
        rows: The number of rows of the backbone's token table, or None if unknown.
    """
    tokenizer = find_tokenizer(files).tokenizer
    if tokenizer is None or (rows is not None and tokenizer.vocabulary_size() > rows):
        return None
    try:
        return TextSample("", list(SENTENCES), text_inputs(tokenizer, list(SENTENCES), backbone_inputs, max_length), ())
    except Exception as error:  # such as a vocabulary without an unknown token; the certificate does without texts
        log.info("%s: its tokenizer cannot encode the texts of the certificate (%s)", files.handle, error)
        return None


def text_inputs(
    tokenizer: PresetTokenizer,
    texts: Sequence[Any],
    backbone_inputs: Mapping[str, np.ndarray[Any, Any]],
    max_length: int | None,
) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the inputs of a backbone for texts; inputs that the tokenizer does not make are zeros."""
    arrays = tokenizer(texts, max_length=max_length)
    zeros = 0 * next(iter(arrays.values()))
    return {name: arrays.get(name, zeros).astype(sample.dtype) for name, sample in backbone_inputs.items()}
