"""The preprocessor of a task in a `.keras` file: the tokenizer's files and the settings, among the assets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vertebra import open_files
from vertebra.errors import PresetConfigError
from vertebra_text.preprocessor import TextPreprocessor
from vertebra_text.system import warn
from vertebra_text.tokenizers.encoding.options import LIMITING
from vertebra_text.tokenizers.interface import Tokenizer

_FOLDER, _SETTINGS = "preprocessor", "preprocessor.json"


class KerasAssets:
    """The methods by which Keras keeps the preprocessor of a `Task` in a `.keras` file."""

    preprocessor: Any

    def save_assets(self, dir_path: str) -> None:
        """Writes the preprocessor below a folder; one that is a function is left out, with a warning."""
        preprocessor = self.preprocessor
        if not isinstance(preprocessor, TextPreprocessor):
            if preprocessor is not None:
                warn("A preprocessor that is a function is not saved: set task.preprocessor again after loading")
            return
        folder = Path(dir_path, _FOLDER)
        preprocessor.tokenizer.save_to_preset(folder, format="native")
        settings = {"sequence_length": preprocessor.sequence_length, "truncation": preprocessor.truncation}
        (folder / _SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def load_assets(self, dir_path: str | None) -> None:
        """Reads the preprocessor below a folder, if there is one, with the checks of a preset: sizes, names, no code.

        Raises:
            PresetConfigError: a file is invalid.
        """
        if dir_path is not None and Path(dir_path, _FOLDER).is_dir():
            self.preprocessor = _read(Path(dir_path, _FOLDER))


def _read(folder: Path) -> TextPreprocessor:
    files = open_files(folder, locked=False)  # a temporary folder, which no lockfile can name
    settings = files.json(_SETTINGS).value
    length, truncation = settings.get("sequence_length"), settings.get("truncation")
    if truncation not in LIMITING or not (length is None or (type(length) is int and length > 0)):
        problem = f"sequence_length is {length!r} and truncation {truncation!r}"
        raise PresetConfigError(_SETTINGS, f"{problem}, expected an int above 0, and one of {', '.join(LIMITING)}")
    return TextPreprocessor(Tokenizer.from_files(files), length, truncation)
