"""`FurtherAssets`: the chat template and the options of generating in a `.keras` file, among the assets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vertebra import open_files

_TOKENIZER = "preprocessor"
"""The folder in which `vertebra_text.Task` keeps the tokenizer's files."""
_TEMPLATE, _OPTIONS = "chat_template.jinja", "generation_config.json"


class FurtherAssets:
    """The methods by which Keras keeps further files of a `CausalLM` in a `.keras` file."""

    read_files: Any
    further_files: Any
    _chat_templates: Any

    def save_assets(self, dir_path: str) -> None:
        """Writes the preprocessor, and what the user has set, below a folder."""
        super().save_assets(dir_path)  # type: ignore[misc]
        for name, content in self.further_files().items():
            Path(dir_path, name).write_bytes(content)

    def load_assets(self, dir_path: str | None) -> None:
        """Reads the files below a folder, with the checks of a preset.

        Raises:
            PresetConfigError: a file is invalid.
        """
        super().load_assets(dir_path)  # type: ignore[misc]
        if dir_path is None:
            return
        if Path(dir_path, _TOKENIZER).is_dir():  # whose files may have a template
            self.read_files(open_files(Path(dir_path, _TOKENIZER), locked=False))
        names = {path.name for path in Path(dir_path).iterdir()}
        if not names & {_TEMPLATE, _OPTIONS}:
            return
        of_tokenizer = self._chat_templates
        self.read_files(open_files(Path(dir_path), locked=False))
        self.__dict__.update(_is_own_template=_TEMPLATE in names, _has_own_options=_OPTIONS in names)
        if _TEMPLATE not in names:
            self.__dict__["_chat_templates"] = of_tokenizer
