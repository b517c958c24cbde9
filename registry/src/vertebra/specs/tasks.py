"""Tasks, tokenizers and commands, as data that a plugin contributes, and a preset that was opened for a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from vertebra.handles import PresetHandle
    from vertebra.specs.preset_files import PresetFiles

    Tensors = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task: its class, which adds a head to any backbone."""

    name: str
    """Name of the class, which is also its name in `vertebra.models`."""
    task: str
    """Reference to the class."""
    description: str = ""
    """What the task computes, in a few words."""


@dataclass(frozen=True, slots=True)
class TokenizerSpec:
    """A kind of tokenizer: its class, which says by file names whether it reads the tokenizer of a preset."""

    name: str
    """Name of the class, which is also its name in `vertebra.models`."""
    tokenizer: str
    """Reference to the class."""
    description: str = ""
    """The files that it reads, in a few words."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A subcommand of `vertebra`."""

    name: str
    """The word after `vertebra`; commands of the core keep their names."""
    help: str
    """What the command does, in a few words."""
    command: str
    """Reference to a function `(parser) -> None`, which adds arguments to an `argparse.ArgumentParser` and sets the
    default `run` to a function of the parsed arguments that returns the exit status."""


@dataclass(frozen=True, slots=True)
class TaskExport:
    """What a task adds to the preset of its backbone when it is saved."""

    write: Callable[[Path], None]
    """Writes further files into an empty folder; they replace files of the same names in the preset."""
    tensors: Tensors = field(default_factory=dict)
    """The tensors of the head by their full names in a transformers checkpoint; other formats have own files."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a transformers config."""
    model: str = ""
    """The end of the name of transformers' class, such as `ForSequenceClassification`, or an empty text for the base
    model. The backbone's tensors get the prefix that they have in a model with a head."""


@dataclass(frozen=True, slots=True)
class TaskPreset:
    """A preset that was opened for a task: its backbone, and everything else that it has."""

    backbone: Any
    """The `Backbone`, with its weights."""
    format: str
    """The format of the preset."""
    files: PresetFiles
    """All files of the preset, at the revision of the backbone's weights."""
    tensors: Tensors
    """The checkpoint's tensors that are not the backbone's, such as those of a head, by name; each is read when it is
    looked up, as a view of the mapped file."""

    fresh: Sequence[str] = ()
    """Names of the backbone's weights that the preset has no values for; they are initialised randomly."""

    @property
    def handle(self) -> PresetHandle:
        """The pinned handle."""
        return self.files.handle
