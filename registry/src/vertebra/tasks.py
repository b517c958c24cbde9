"""The interface of plugins that contribute tasks and tokenizers: what they register, and how they open a preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.handles import PresetHandle

if TYPE_CHECKING:
    import numpy as np

    from vertebra.interfaces import PresetFiles

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


def open_preset(
    preset: str | Path,
    backbone_class: type | None = None,
    load_weights: bool = True,
    *,
    locked: bool | None = None,
    **overrides: Any,
) -> TaskPreset:
    """Opens a preset for a task: loads its backbone, and gives access to its other tensors and files.

    Args:
        preset: A built-in preset id, a handle or a path, as in `Backbone.from_preset`.
        backbone_class: The class that the backbone must be of, or None for any.
        load_weights: Whether to load weights; if False, those of the backbone are random, and there are no tensors.
        locked: As in `Backbone.from_preset`.
        **overrides: Arguments of the backbone's constructor that override the preset's config.

    Raises:
        PresetError: as in `Backbone.from_preset`.
    """
    from vertebra._discovery.runtimes import bind

    bind()
    from vertebra._presets.load import load_for_task
    from vertebra.backbone import Backbone

    return load_for_task(backbone_class or Backbone, preset, load_weights, overrides, locked)


def declared_heads(backbone: str) -> Mapping[str, str]:
    """Returns the references to the heads that an installed architecture declares, by name of the task."""
    from vertebra._discovery.catalog import BACKBONES, catalog

    entries = catalog(BACKBONES)
    return entries.lookup(backbone).value.heads if backbone in entries else {}


def read_tensors(files: PresetFiles, name: str) -> Tensors:
    """Returns the tensors of a file of a preset, by name, as views of the file.

    Args:
        files: The preset.
        name: The name of a safetensors file, or of an HDF5 file that Keras wrote.

    Raises:
        PresetNotFoundError: the preset has no such file.
        WeightsFileError: the file is unsound, or of another kind.
    """
    from vertebra._weights.tensor_views import read_file

    return read_file(files.fetch(name), name)


def write_tensors(path: Path, arrays: Tensors) -> None:
    """Writes arrays as a safetensors file, or as an HDF5 file as Keras writes it if the name ends with `.h5`.

    Raises:
        OSError: the file cannot be written, as on a full disk.
    """
    from vertebra._weights.tensor_views import write_file

    write_file(path, arrays)
