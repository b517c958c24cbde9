"""What a preset says it is, once its config is read, and once its weights files are opened, whatever its format."""

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
    """None if tensors have the names of the weights themselves."""
    files: FileKind = SAFETENSORS
    """The kind of weights file."""
    untied: str | None = None
    """The field of the config by which a head of the model is not the token table, or None."""
    refine: Callable[[PresetDescription, Mapping[str, TensorEntry]], PresetDescription] | None = None
    """Adds to the description facts that the tensors tell and the config does not; None if there are none."""

    @property
    def not_read(self) -> str | None:
        """The index of a second checkpoint, which is not read, or None if there is just one."""
        return self.files.not_read(self.folder.names)

    def open(self) -> OpenPreset:
        """Maps the weights.

        Raises:
            WeightsFileError: the weights are missing or unsound, or index and files disagree.
            PresetConfigError: config and files do not make a preset that can be read.
        """
        folder = self.folder
        with folder.missing_files("its weights"):
            checkpoint = open_checkpoint(self.files, folder.names, folder.fetch, folder.fetch_all, folder.check_read)
        return OpenPreset(self._refined(checkpoint.entries), checkpoint.headers, checkpoint.entries, checkpoint)

    def open_headers(self) -> OpenPreset:
        """Reads the headers of the weights files; of remote safetensors files nothing else is transferred.

        Raises:
            as `open`.
        """
        folder, kind = self.folder, self.files
        fetch_headers = partial(folder.fetch_headers, length_of=kind.header_end) if kind.header_comes_first else None
        with folder.missing_files("its weights"):
            headers = read_headers(kind, folder.names, folder.fetch, fetch_headers, folder.check_read)
        entries = {name: entry for header in headers.values() for name, entry in header.entries.items()}
        return OpenPreset(self._refined(entries), headers, entries)

    def _refined(self, entries: Mapping[str, TensorEntry]) -> PresetDescription:
        return self if self.refine is None else replace(self.refine(self, entries), refine=None)


@dataclass(frozen=True, slots=True)
class OpenPreset:
    """A preset that knows its tensors."""

    description: PresetDescription
    """The description, with the facts that the tensors tell."""
    headers: Mapping[str, Header]
    """Headers of the weights files, by file name."""
    entries: Mapping[str, TensorEntry]
    """All tensors by name."""
    checkpoint: Checkpoint | None = None
    """The mapped weights, or None if only the headers were read."""

    def mapped(self) -> Checkpoint:
        """Returns the mapped weights, which are mapped now if only the headers were read."""
        return self.checkpoint or self.description.open().mapped()

    def match(self, weights: Mapping[str, Any]) -> Match:
        """Finds the tensor that fills each weight.

        Raises:
            WeightsMismatchError: some weight or tensor has no counterpart.
        """
        rules, own, outside = self.rules()
        translation = self.description.translation
        optional = translation.optional if translation else ()
        found = match(self.mapped().path, weights, own, rules, optional=optional)
        return replace(found, outside=outside)

    def rules(self) -> tuple[dict[str, TensorRule], dict[str, TensorEntry], list[str]]:
        """Returns what `translated_rules` does; where nothing is translated, tensors have the names of weights."""
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
    """Rewrites a translation's rules with the names that the tensors have in one checkpoint.

    Args:
        translation: The architecture's.
        arguments: The constructor's.
        entries: The checkpoint's tensors by name.
        current_name: From a name to the present one, for what the kind of file once called otherwise.

    Returns:
        The rules; the tensors that are the backbone's; and the names of those that are not: if the checkpoint puts
        the backbone under a prefix, tensors outside that fill no weight belong to a head.
    """
    prefix = next((p for p in translation.prefixes if p and any(name.startswith(p) for name in entries)), "")
    own = {name: entry for name, entry in entries.items() if name.startswith(prefix)}
    # A weight may also lie outside the prefix, such as that of a head; there it goes by its whole name.
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
