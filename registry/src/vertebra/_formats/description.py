"""Descriptions of presets in any format: from the config, and refined with the tensors once the weights are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vertebra._resolve.preset_folder import PresetFolder
from vertebra._weights.checkpoint import Checkpoint, open_checkpoint, read_headers
from vertebra._weights.file_kind import FileKind
from vertebra._weights.match import Match, any_match, match
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.tensor_entry import Header, TensorEntry
from vertebra.interfaces import Translation
from vertebra.specs import TensorRule


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

    @property
    def not_read(self) -> str | None:
        """The shard index of a second checkpoint, which is not read, or None if there is just one."""
        return self.files.not_read(self.folder.names)

    def open(self) -> OpenPreset:
        """Maps the weights.

        Raises:
            WeightsFileError: the weights are missing or unsound, or index and files disagree.
            PresetConfigError: the preset is of a kind that cannot be read.
        """
        folder = self.folder
        with folder.missing_files("its weights"):
            checkpoint = open_checkpoint(
                self.files, folder.listed_names, folder.fetch, folder.fetch_all, folder.check_read
            )
        return OpenPreset(self._refined(checkpoint.entries), checkpoint.headers, checkpoint.entries, checkpoint)

    def open_headers(self) -> OpenPreset:
        """Reads the headers of the weights files; of remote safetensors files, only the headers are downloaded.

        Raises:
            WeightsFileError: as `open`.
            PresetConfigError: as `open`.
        """
        folder, kind = self.folder, self.files
        fetch_headers = partial(folder.fetch_headers, length_of=kind.header_end) if kind.header_comes_first else None
        with folder.missing_files("its weights"):
            headers = read_headers(kind, folder.listed_names, folder.fetch, fetch_headers, folder.check_read)
        entries = {name: entry for header in headers.values() for name, entry in header.entries.items()}
        return OpenPreset(self._refined(entries), headers, entries)

    def _refined(self, entries: Mapping[str, TensorEntry]) -> PresetDescription:
        return self if self.refine is None else replace(self.refine(self, entries), refine=None)


@dataclass(frozen=True, slots=True)
class OpenPreset:
    """A preset whose weights files, or their headers, are open."""

    description: PresetDescription
    """The description, completed from the tensors."""
    headers: Mapping[str, Header]
    """Headers of the weights files, by file name."""
    entries: Mapping[str, TensorEntry]
    """All tensors by name."""
    checkpoint: Checkpoint | None = None
    """The mapped weights, or None if only the headers were read."""

    def mapped(self) -> Checkpoint:
        """Returns the mapped weights; maps them if only the headers were read."""
        return self.checkpoint or self.description.open().mapped()

    def match(self, weights: Mapping[str, Any]) -> Match:
        """Finds the tensor that fills each weight.

        Raises:
            WeightsMismatchError: some weight or tensor has no counterpart.
        """
        rules, own, outside = self.rules()
        translation = self.description.translation
        optional = translation.optional if translation else ()
        matched = match(self.mapped().path, weights, own, rules, optional=optional)
        return replace(matched, outside=outside)

    def rules(self) -> tuple[dict[str, TensorRule], dict[str, TensorEntry], list[str]]:
        """Returns the result of `translated_rules`; without a translation, each tensor fills the weight of its name."""
        described = self.description
        if described.translation is None:
            return {name: TensorRule(name) for name in self.entries}, dict(self.entries), []
        return translated_rules(described.translation, described.arguments, self.entries, described.files.current_name)


def translated_rules(
    translation: Translation,
    arguments: Mapping[str, Any],
    entries: Mapping[str, TensorEntry],
    current_name: Callable[[str], str] = str,
) -> tuple[dict[str, TensorRule], dict[str, TensorEntry], list[str]]:
    """Rewrites a translation's rules with the names of the tensors in one checkpoint.

    Args:
        translation: The translation of the architecture.
        arguments: The constructor arguments.
        entries: The checkpoint's tensors by name.
        current_name: Maps a tensor's name to its present name, for file kinds that once used other names.

    Returns:
        The rules; the backbone's tensors; and the names of the other tensors. If the checkpoint has the backbone under
        a prefix, tensors outside the prefix that fill no weight belong to a head.
    """
    prefix = next((p for p in translation.prefixes if p and any(name.startswith(p) for name in entries)), "")
    own = {name: entry for name, entry in entries.items() if name.startswith(prefix)}
    # A weight may also come from a tensor outside the prefix, such as a head's; its whole name is matched.
    present = {translation.current_name(current_name(name)): name for name in entries if name not in own}
    present |= {translation.current_name(current_name(name).removeprefix(prefix)): name for name in own}
    rules = {
        weight: replace(rule, tensor=present.get(rule.tensor, prefix + rule.tensor))
        for weight, rule in translation.rules(arguments).items()
    }
    wanted = {rule.tensor for rule in rules.values()}
    ignored = [prefix + pattern for pattern in translation.ignored]
    kept = {
        name: entry
        for name, entry in entries.items()
        if name in wanted or (name in own and not any_match(name, ignored))
    }
    return rules, kept, [name for name in entries if name not in own and name not in wanted]
