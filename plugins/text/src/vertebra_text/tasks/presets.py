"""How a task is read from presets and written to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vertebra
from vertebra_text.task_files.stored import StoredTask

_FROM_PRESET = object()
"""The default of `preprocessor` in `from_preset`: the preset's own tokenizer."""


class TaskPresets:
    """The methods of `Task` for presets."""

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        load_weights: bool = True,
        *,
        runtime: str | None = None,
        locked: bool | None = None,
        copy: bool | None = None,
        preprocessor: Any = _FROM_PRESET,
        **kwargs: Any,
    ) -> Any:
        """Builds the task of a preset: its backbone, head and tokenizer.

        Args:
            preset: A built-in preset id, a handle or a path, as in `vertebra.Backbone.from_preset`.
            load_weights: Whether to load the weights of backbone and head; if False, they are random.
            runtime: Name of the runtime, as in `vertebra.Backbone.from_preset`.
            locked: As in `vertebra.Backbone.from_preset`.
            copy: As in `vertebra.Backbone.from_preset`.
            preprocessor: As in the constructor; left out, the preset's own tokenizer. None for a model of token ids.
            **kwargs: Arguments of this class, such as `num_classes`, or else of the backbone, such as `dtype`. They
                override those of the preset.

        Raises:
            PresetError: as in `vertebra.Backbone.from_preset`, or the preset is of another task.
            ArgumentError: an argument is out of range.
        """
        from vertebra_text.task_files.load import load_task

        vertebra.use(runtime)
        own = {name: kwargs.pop(name) for name in cls._own_arguments() & kwargs.keys()}
        given = {} if preprocessor is _FROM_PRESET else {"preprocessor": preprocessor}
        of_preset = {"load_weights": load_weights, "locked": locked, "copy": copy}
        return load_task(cls, preset, of_preset, own, kwargs, given)

    def save_to_preset(
        self,
        preset_dir: str | Path,
        max_shard_size: float | None = 10,
        *,
        format: str = "native",
        **kwargs: Any,
    ) -> None:
        """Saves backbone, head and tokenizer as a preset folder, which appears complete or not at all.

        Args:
            preset_dir: The folder.
            max_shard_size: Maximum size of a weights file in gigabytes (10⁹ bytes), or None for a single file.
            format: `native`; `transformers`; `sentence-transformers`; or `kerashub`.
            **kwargs: Further arguments of `vertebra.Backbone.save_to_preset`.

        Raises:
            PresetSaveError: the folder cannot be written; existing files are unchanged.
            FormatLimitError: the format cannot represent the task.
        """
        from vertebra_text.task_files.save import save_task

        save_task(self, preset_dir, max_shard_size, format, kwargs)

    @classmethod
    def stored_in(cls, preset: vertebra.TaskPreset) -> StoredTask | None:  # noqa: ARG003
        """Returns what a preset of another library says about the task, or None: this package reads the preset itself.

        Args:
            preset: The preset, of any format but Vertebra's own.

        Raises:
            PresetConfigError: a file is invalid.
        """
        return None

    def exported_to(self, format: str) -> vertebra.TaskExport | None:
        """Returns what the task adds to a preset of another library, or None: this package writes it itself.

        Args:
            format: As in `save_to_preset`, other than `native`.

        Raises:
            FormatLimitError: the format cannot represent the task.
        """
        return None

    def read_files(self, files: vertebra.PresetFiles) -> None:
        """Takes what the task needs from further files of the preset that it was built from.

        Args:
            files: The files of the preset.

        Raises:
            PresetConfigError: a file is invalid.
        """

    def further_files(self) -> Mapping[str, bytes]:
        """Returns the contents of further files for each preset of the task, by name."""
        return {}

    @classmethod
    def export_preset(cls, preset: vertebra.TaskPreset, format: str) -> vertebra.TaskExport:
        """Returns what the task of a preset adds to a preset of another format, for `vertebra convert`.

        Raises:
            FormatLimitError: the format cannot represent the task.
        """
        from vertebra_text.task_files.save import export_preset

        return export_preset(cls, preset, format)
