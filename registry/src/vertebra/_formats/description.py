"""What a preset says it is, once its config is read, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vertebra._resolve.preset_files import PresetFolder
from vertebra._weights.checkpoint import Checkpoint, open_checkpoint, read_headers
from vertebra._weights.file_kind import FileKind
from vertebra._weights.match import Match, any_match, match
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.tensor_entry import Header, TensorEntry
from vertebra.interfaces import Translation
from vertebra.specs import TensorRule


@dataclass(frozen=True, slots=True)
class PresetContents:
    """A preset: its class, its constructor arguments, and how its tensors are named."""

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
    """What in the config says that a head of the model is not the token table, or None if nothing does."""
    as_stored: Callable[[PresetContents, Mapping[str, TensorEntry]], PresetContents] | None = None
    """What the tensors in the files say of the preset beyond its config, or None if that is nothing."""

    @property
    def not_read(self) -> str | None:
        """The index of a second checkpoint, which is not read, or None if there is just one."""
        return self.files.not_read(self.folder.names)

    def seen(self, entries: Mapping[str, TensorEntry]) -> PresetContents:
        """Returns the contents as they are once the files have been looked at.

        Raises:
            PresetConfigError: config and files do not make a preset that can be read.
        """
        return self if self.as_stored is None else replace(self.as_stored(self, entries), as_stored=None)

    def open(self) -> Checkpoint:
        """Maps the weights."""
        with self.folder.lacking("its weights"):
            return open_checkpoint(
                self.files, self.folder.names, self.folder.fetch, self.folder.fetch_all, self.folder.check_read
            )

    def headers(self) -> dict[str, Header]:
        """Reads the headers of the weights files, by name; of files that are elsewhere, if it can be, nothing else.

        Raises:
            WeightsFileError: the weights are missing or unsound, or index and files disagree.
        """
        kind = self.files
        fetch_headers = partial(self.folder.fetch_beginnings, length_of=kind.header_end)
        only_headers = fetch_headers if kind.header_comes_first else None
        with self.folder.lacking("its weights"):
            return read_headers(self.files, self.folder.names, self.folder.fetch, only_headers, self.folder.check_read)

    def match(self, checkpoint: Checkpoint, weights: Mapping[str, Any]) -> Match:
        """Finds the tensor that fills each weight.

        Raises:
            WeightsMismatchError: some weight or tensor has no counterpart.
        """
        rules, own, outside = self.locate(checkpoint.entries)
        optional = self.translation.optional if self.translation else ()
        found = match(checkpoint.path, weights, own, rules, optional=optional)
        return replace(found, outside=outside)

    def locate(
        self, entries: Mapping[str, TensorEntry]
    ) -> tuple[dict[str, TensorRule], dict[str, TensorEntry], list[str]]:
        """Returns what `translated_rules` does; where nothing is translated, tensors have the names of weights."""
        if self.translation is None:
            return {name: TensorRule(name) for name in entries}, dict(entries), []
        return translated_rules(self.translation, self.arguments, entries, self.files.current_name)


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
