"""Descriptions of presets in any format: from the config, and refined with the tensors once the weights are open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from vertebra._arguments import numbers_of_layers
from vertebra._formats.backbone_tensors import BackboneTensors, find_backbone
from vertebra._formats.checked_translation import CheckedTranslation
from vertebra._formats.migration import new_name
from vertebra._resolve.preset_folder import PresetFolder, config_error
from vertebra._weights.checkpoint import Checkpoint, CheckpointHeader, open_checkpoint, read_headers
from vertebra._weights.file_kind import FileKind
from vertebra._weights.match import Match, any_match, match
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.tensor_entry import TensorEntry
from vertebra.errors import PresetConfigError
from vertebra.errors.base import shown
from vertebra.translations import TensorRule, Translation

_CHECK_EACH = 500
"""Variables after which a backbone that is built is compared with the number of tensors: most have fewer."""


def _most_weights(filled: int) -> int:
    """Returns more variables than a backbone has whose tensors fill this number of weights."""
    return 2 * filled + _CHECK_EACH


@dataclass(frozen=True, slots=True)
class PresetDescription:
    """A preset as its config describes it: its class and its constructor arguments."""

    format: str
    folder: PresetFolder
    backbone: str
    """Name of the class."""
    arguments: dict[str, Any]
    translation: Translation | None = None
    """The translation of tensor names, or None if tensors have the names of the weights."""
    files: FileKind = SAFETENSORS
    """The kind of weights file."""
    untied: str | None = None
    """The config field that says that the model's head is not the token table, or None."""
    difference: str | None = None
    """How the format's own library computes otherwise than the config says, or None."""
    refine: Callable[[PresetDescription, Mapping[str, TensorEntry]], PresetDescription] | None = None
    """Completes the description from the tensors; None if the config describes the preset completely."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    """The present names of weights and layers by those in a native preset of an older version."""
    notes: tuple[str, ...] = ()
    """How an untidy preset was read, such as without a field of its config."""
    read_as: str = ""
    """The format of its small files, where it is not `format`: that of the files that are in a single file."""

    @property
    def format_of_files(self) -> str:
        """The format of the config, the tokenizer and the head."""
        return self.read_as or self.format

    @property
    def not_read(self) -> str | None:
        """The shard index of a second checkpoint, which is not read, or None if there is just one."""
        return self.files.not_read(self.folder.names)

    def require_weights(self) -> None:
        """Checks that the preset has weights under the names that a load reads.

        Raises:
            WeightsNotFoundError: it has none; the error names the files that it has instead, and the remedy.
        """
        kind = self.files
        if not kind.shards and {kind.weights, kind.index}.isdisjoint(self.folder.listed_names):
            from vertebra._formats.other_weights import no_weights  # a load that succeeds does without its imports

            raise no_weights(self.folder, kind)

    def open(self, copy: bool = False) -> OpenPreset:
        """Maps the weights, or copies them into memory.

        Raises:
            WeightsFileError: the weights are missing or unsound.
            PresetConfigError: the preset is of a kind that cannot be read.
        """
        folder = self.folder
        with folder.missing_files("its weights"):
            self.require_weights()
            checkpoint = open_checkpoint(
                self.files, folder.listed_names, folder.fetch, folder.fetch_all, folder.check_read, copy
            )
        return OpenPreset(self._refined(checkpoint.entries), checkpoint.header, checkpoint)

    def open_headers(self) -> OpenPreset:
        """Reads the headers of the weights files; of remote safetensors files, only the headers are downloaded.

        Raises:
            WeightsFileError: as `open`.
            PresetConfigError: as `open`.
        """
        folder, kind = self.folder, self.files
        fetch_headers = partial(folder.fetch_headers, length_of=kind.header_end) if kind.header_comes_first else None
        with folder.missing_files("its weights"):
            self.require_weights()
            header = read_headers(kind, folder.listed_names, folder.fetch, fetch_headers, folder.check_read)
        return OpenPreset(self._refined(header.entries), header)

    def _refined(self, entries: Mapping[str, TensorEntry]) -> PresetDescription:
        return self if self.refine is None else replace(self.refine(self, entries), refine=None)


@dataclass(frozen=True, slots=True)
class OpenPreset:
    """A preset whose weights files, or their headers, are open."""

    description: PresetDescription
    """The description, completed from the tensors."""
    header: CheckpointHeader
    """The headers of the weights files."""
    checkpoint: Checkpoint | None = None
    """The mapped weights, or None if only the headers were read."""

    @property
    def entries(self) -> Mapping[str, TensorEntry]:
        """All tensors by name."""
        return self.header.entries

    def mapped(self) -> Checkpoint:
        """Returns the mapped weights; maps them if only the headers were read."""
        return self.checkpoint or self.description.open().mapped()

    def match(self, weights: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]] | None = None) -> Match:
        """Finds the tensor that fills each weight.

        Args:
            weights: The variables by name.
            shapes: The shapes of weights whose tensors have the values of another shape, by name.

        Raises:
            WeightsMismatchError: some weight or tensor has no counterpart.
            WeightsFileError: the index and the shards disagree about a tensor of the backbone.
        """
        tensors = self.backbone_tensors()
        translation = self.description.translation
        optional = translation.optional if translation else ()
        path = self.header.path
        matched = match(
            path, weights, tensors.own, tensors.rules, optional=optional, cause=tensors.cause, shapes=shapes
        )
        return replace(matched, outside=tensors.outside, notes=tensors.notes)

    def check_rules(self, weights: Iterable[str]) -> None:
        """Checks that the translation has a rule for each weight of the config's model, and for no other.

        Optional weights need none, and a rule for another weight is harmless if the checkpoint lacks its tensor.

        Raises:
            PluginError: it has not.
        """
        translation = self.description.translation
        if isinstance(translation, CheckedTranslation):
            tensors = self.backbone_tensors()
            weights = {name for name in weights if name in tensors.rules or not any_match(name, translation.optional)}
            rules = {name for name, rule in tensors.rules.items() if name in weights or rule.tensor in tensors.own}
            translation.check_weights(rules, weights)

    def admit(self, backbone: str, overrides: Mapping[str, Any], count: int) -> None:
        """Ends the build of a backbone of far more weights than the files can fill: each layer takes milliseconds.

        A tensor may fill several weights, by the rules of a translation, and layers have variables of other kinds.

        Args:
            backbone: The name of the class.
            overrides: Arguments of its constructor, instead of those of the config.
            count: The number of variables that it has already.

        Raises:
            PresetConfigError: more variables are not needed.
        """
        if count % _CHECK_EACH or count < _most_weights(len(self.entries)):
            return
        if count < _most_weights(self._filled_weights()):
            return
        raise self._too_few_tensors(f"{backbone} would have more than {count:,} weights", overrides)

    def check_layers(self, backbone: type, overrides: Mapping[str, Any]) -> None:
        """Checks, before anything is built, that the tensors are enough for the layers; each takes milliseconds.

        Args:
            backbone: The class.
            overrides: Arguments of its constructor, instead of those of the config.

        Raises:
            PresetConfigError: there are more layers than weights that the tensors can fill.
        """
        numbers = numbers_of_layers(backbone, self.description.arguments | dict(overrides))
        layers = sum(numbers.values())
        if layers > len(self.entries) and layers > self._filled_weights():
            asked = " and ".join(f"{name}={number}" for name, number in numbers.items())
            raise self._too_few_tensors(f"{backbone.__name__} would have {layers:,} layers ({asked})", overrides)

    def _filled_weights(self) -> int:
        """Returns the number of weights that the tensors fill by the rules of the translation."""
        rules = {} if self.description.translation is None else self.backbone_tensors().rules
        return sum(rule.tensor in self.entries for rule in rules.values())

    def _too_few_tensors(self, problem: str, overrides: Mapping[str, Any]) -> PresetConfigError:
        given = ", ".join(f"{name}={shown(value)}" for name, value in overrides.items())
        remedy = f"Check the arguments that replace the config's ({given}), and then the file" if given else ""
        problem += f", and its weights files hold {len(self.entries):,} tensors"
        return config_error(self.description.folder, problem, remedy)

    def backbone_tensors(self) -> BackboneTensors:
        """Finds the backbone's tensors; without a translation, each tensor fills the weight of its name.

        Raises:
            WeightsMismatchError: the checkpoint holds several backbones.
            WeightsFileError: the index and the shards disagree about a tensor of the backbone.
        """
        described, header = self.description, self.header
        if described.translation is None:
            header.check(header.disputes)
            rules = {new_name(name, described.renamed): TensorRule(name) for name in self.entries}
            return BackboneTensors(rules, dict(self.entries), [])
        kind = described.files
        tensors = find_backbone(
            described.translation,
            described.translation.rules(described.arguments),
            header.entries,
            checkpoint=header.path,
            current_name=kind.current_name,
            metadata=header.metadata,
            untied=described.untied,
        )
        header.check({kind.indexed_as(rule.tensor) for rule in tensors.rules.values()})
        notes = (*described.notes, *kind.notes(header.metadata), *tensors.notes)
        passed_over = [f"{reason}, which the backbone does not use" for reason in header.disputes.values()]
        return replace(tensors, notes=(*notes, *passed_over))
