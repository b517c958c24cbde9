"""Tasks, tokenizers and commands, as data that a plugin contributes, and a preset that was opened for a task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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
    describe: str = ""
    """Reference to a function `(name, DescribedPreset) -> TaskFacts | None`, which says whether a preset holds the
    task of this name, for `inspect`, `plan`, `convert` and model cards. It imports no framework. Without one, these
    commands treat a preset of the task as one of its backbone."""


@dataclass(frozen=True, slots=True)
class TokenizerSpec:
    """A kind of tokenizer: its class, which says by file names whether it reads the tokenizer of a preset."""

    name: str
    """Name of the class, which is also its name in `vertebra.models`."""
    tokenizer: str
    """Reference to the class, which has the methods of `PresetTokenizer`."""
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
    schema: str = ""
    """Reference to a dict: the JSON Schema (draft 2020-12) of the output with `--json`, if it has that option."""


@dataclass(frozen=True, slots=True)
class CommandOptionSpec:
    """Options that a plugin adds to commands of other plugins, such as the engine that runs them."""

    name: str
    """Name of the contribution, usually that of its first option without the dashes."""
    commands: tuple[str, ...]
    """Names of the commands that get the options; those that are not installed are passed over."""
    add: str
    """Reference to a function `(parser) -> None`, which adds the options to the `argparse.ArgumentParser` of a command;
    the commands say which attributes of the parsed arguments they read."""


@dataclass(frozen=True, slots=True)
class TaskExport:
    """What a task adds to the preset of its backbone when it is saved."""

    write: Callable[[Path], None]
    """Writes further files into an empty folder; they replace files of the same names in the preset."""
    tensors: Tensors = field(default_factory=dict)
    """The tensors of the head by their full names in a transformers checkpoint; other formats have own files."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a transformers config; None removes a field that the preset has from an earlier task."""
    model: str = ""
    """The end of the name of transformers' class, such as `ForSequenceClassification`, or an empty text for the base
    model. The backbone's tensors get the prefix that they have in a model with a head."""
    read: Collection[str] = ()
    """Names of the tensors of the head in the checkpoint that is converted; empty if a model is saved."""
    same_texts: bool = True
    """Whether the preset that is written makes the input of texts that the converted preset makes; if not, texts and
    outputs of the task are left out of its parity certificate."""
    sample: Callable[[Sequence[str]], TextSample] | None = None
    """Computes a sample of the task on texts for the parity certificate; None for a sample of the backbone alone."""


@dataclass(frozen=True, slots=True)
class TextSample:
    """Texts, and what a task makes of them; a certificate has them, so that `vertebra verify` can compute them again.

    The class of a task has the method `text_sample(texts)`, which returns the sample of a task that was loaded.
    """

    task: str
    """Name of the task."""
    texts: Sequence[Any]
    """Texts or pairs of texts, as JSON."""
    inputs: Mapping[str, Any]
    """The inputs of the backbone for the texts: arrays by name."""
    outputs: Any
    """The outputs of the task for these inputs: an array, or a structure of arrays."""


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
    untied_heads: Collection[str] = ()
    """Names of the tensors of `tensors` that are matrices for logits, and not equal to the backbone's token table."""

    @property
    def handle(self) -> PresetHandle:
        """The pinned handle."""
        return self.files.handle


class PresetTokenizer(Protocol):
    """The methods of a tokenizer, as the commands use them; a class of `vertebra_text.Tokenizer` has them."""

    formats: Collection[str]
    """Formats of presets whose readers understand the files that were read, or none if unknown: a conversion to another
    format translates the tokenizer, or carries its files as they are if there are none."""

    @classmethod
    def reads(cls, names: Collection[str]) -> bool:
        """Returns whether a preset with files of these names has a tokenizer of this class."""

    @classmethod
    def read(cls, files: PresetFiles) -> PresetTokenizer:
        """Returns the tokenizer of a preset; imports no framework."""

    def __call__(self, texts: Any, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
        """Returns the inputs of a backbone for texts; `max_length=` limits the number of tokens of each."""

    def describe(self) -> Mapping[str, Any]:
        """Returns facts for users as JSON: `kind`, `vocabulary_size`, and others."""

    def id_to_token(self, id: int) -> str:
        """Returns the token of an id."""

    def vocabulary_size(self) -> int:
        """Returns the number of ids: the largest id plus one."""

    def save_to_preset(self, preset_dir: Path, *, format: str) -> list[str]:
        """Writes the tokenizer's files for a format into a folder, and returns their names; warns about differences.

        Raises:
            FormatLimitError: the format cannot represent the tokenizer.
            PresetFormatError: the format is unknown.
        """


@dataclass(frozen=True, slots=True)
class DescribedPreset:
    """A preset of which only config and headers were read, for functions that describe tasks."""

    format: str
    """The format of the preset."""
    backbone: str
    """Name of the backbone's class."""
    arguments: Mapping[str, Any]
    """Arguments of the backbone's constructor."""
    files: PresetFiles
    """All files; those of more than 25 MB that are not local cannot be fetched."""
    tensors: Collection[str] | None
    """Names of the tensors that are not the backbone's, such as those of a head, or None if headers were not read."""
    tokenizer: PresetTokenizer | None = None
    """The tokenizer, or None if there is none that can be read."""


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What the files of a preset say about a task; texts from the files may be hostile, and are escaped when shown."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Facts for users as JSON, such as `labels`."""
    parameters: int | None = None
    """Number of parameters of the head, all of which are trained, or None if unknown."""
    usage: Sequence[str] = ()
    """Lines of Python for a model card, which use the variable `task`."""
    pipeline_tag: str = ""
    """The name of the task on hubs, such as `text-classification`."""
    tags: Sequence[str] = ()
    """Further tags for hubs."""
    library_name: str = ""
    """The library that reads the task, by its name on hubs, if it is another one than that of the format."""
