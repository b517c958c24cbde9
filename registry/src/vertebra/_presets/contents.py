"""What a preset says it is, once its config is read, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vertebra._presets.folder import PresetFolder
from vertebra._weights.checkpoint import Checkpoint, open_checkpoint
from vertebra._weights.matching import Match, match
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

    def open(self) -> Checkpoint:
        """Maps the weights."""
        return open_checkpoint(self.folder.names, self.folder.fetch)

    def match(self, checkpoint: Checkpoint, weights: Mapping[str, Any]) -> Match:
        """Finds the tensor that fills each weight.

        Raises:
            WeightsMismatchError: some weight or tensor has no counterpart.
        """
        place, entries = checkpoint.path, checkpoint.entries
        if self.translation is None:
            return match(place, weights, entries, {name: TensorRule(name) for name in weights})
        rules, ignored = translated_rules(self.translation, self.arguments, entries)
        return match(place, weights, entries, rules, optional=self.translation.optional, ignored=ignored)


def translated_rules(
    translation: Translation, arguments: Mapping[str, Any], tensors: Mapping[str, Any]
) -> tuple[dict[str, TensorRule], list[str]]:
    """Rewrites a translation's rules with the names that the tensors have in one checkpoint.

    Returns:
        The rules, and globs of tensors that are not the backbone's: what the translation ignores and, if the
        checkpoint puts the backbone under a prefix, everything outside it (a head).
    """
    prefix = next((p for p in translation.prefixes if p and any(name.startswith(p) for name in tensors)), "")
    present = {translation.current_name(name.removeprefix(prefix)): name for name in tensors if name.startswith(prefix)}
    rules = {
        weight: TensorRule(present.get(rule.tensor, prefix + rule.tensor), rule.transpose)
        for weight, rule in translation.rules(arguments).items()
    }
    ignored = [prefix + pattern for pattern in translation.ignored]
    if prefix:
        ignored += [_literal(name) for name in tensors if not name.startswith(prefix)]
    return rules, ignored


def _literal(name: str) -> str:
    """Escapes a name so that, as a glob, it matches itself alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
