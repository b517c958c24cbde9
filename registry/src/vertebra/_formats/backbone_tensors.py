"""Finds the backbone's tensors in a checkpoint, whatever prefix their names have.

Wrappers of modules add to the names in a checkpoint: torch.compile, DistributedDataParallel and FSDP insert a segment,
and a model of the user's own that contains the backbone puts the name of its attribute in front. Such a prefix is
recognised if exactly one fits: then the tensors under it are all that the architecture needs. If several fit, the
checkpoint holds several backbones, such as an average of the weights next to them: the one that the translation
declares is read, or the outermost one. Others may be parts of a backbone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from vertebra._formats.translation import checkpoint_names, in_module
from vertebra._weights.match import any_match
from vertebra._weights.tensor_entry import TensorEntry
from vertebra.errors import WeightsMismatchError
from vertebra.translations import TensorRule, Translation

_WRAPPERS = frozenset(
    ("_orig_mod", "module", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_forward_module")
)
"""Segments that torch.compile, DistributedDataParallel, FSDP, activation checkpointing and Lightning add to names."""
_MOST_SEGMENTS = 16
"""Most segments of a prefix that no translation declares."""
_FEWEST_OF_PART = 3
"""Fewest tensors of a part of another backbone. A head may have one or two of the same names, as of a normalisation."""
_SEPARATORS = re.compile(r"[./]")


@dataclass(frozen=True, slots=True)
class BackboneTensors:
    """The tensors of a checkpoint, sorted into those of the backbone and others."""

    rules: dict[str, TensorRule]
    """The tensor rule of each weight, with the tensor's name in the checkpoint."""
    own: dict[str, TensorEntry]
    """The backbone's tensors, without those that a translation ignores."""
    outside: list[str]
    """Tensors that are not the backbone's, such as those of a head. Those of another backbone are noted instead."""
    notes: tuple[str, ...] = ()
    """How the names were read, where they are not those of the format."""
    cause: str = ""
    """Why weights have no tensor, if the names of the checkpoint tell."""


def find_backbone(
    translation: Translation,
    rules: Mapping[str, TensorRule],
    entries: Mapping[str, TensorEntry],
    *,
    checkpoint: object = "",
    current_name: Callable[[str], str] = str,
    metadata: Mapping[str, str] | None = None,
    untied: str | None = None,
) -> BackboneTensors:
    """Rewrites a translation's rules with the names of the tensors in one checkpoint.

    Args:
        translation: The translation of the architecture.
        rules: Its rules.
        entries: The checkpoint's tensors by name.
        checkpoint: The path of the checkpoint, for messages.
        current_name: Maps a tensor's name to its present name, for file kinds that once used other names.
        metadata: The checkpoint's metadata; safetensors' `save_model` notes in it which of two shared tensors it
            dropped, and which it kept.
        untied: The config field that says that the model's head is not the token table, or None.

    Raises:
        WeightsMismatchError: several prefixes fit, or the model has an adapter that is not merged.
    """
    wrappers = _WRAPPERS.difference(
        *(name.split(".") for rule in rules.values() for name in (rule.tensor, in_module(rule)))
    )
    names = _Names(translation, rules, current_name, entries, metadata or {}, wrappers)
    required = {
        rule.tensor for weight, rule in rules.items() if not rule.tied and not any_match(weight, translation.optional)
    }
    prefix, fits = _choose_prefix(names, translation, required, checkpoint)
    cause = "" if fits else _cause(entries, prefix, translation, checkpoint)
    modules = {_module(rule.tensor) for rule in rules.values()}
    others = names.other_backbones(prefix, required, rules.values()) if fits else {}
    notes = [*names.prefix_notes(prefix, others), *names.other_notes(others)] if fits else []
    found: dict[str, TensorRule] = {}
    for weight, rule in rules.items():
        key = names.find(prefix, rule.tensor)
        head = None if key is not None or rule.tied is None else names.find(prefix, rule.tied)
        if head is not None and untied:
            cause = f"it lacks {prefix}{rule.tensor}, and {head} is another matrix, as {untied} says"
        elif head is not None:
            tied = "the model's head is tied to the token table"
            notes.append(f"it lacks {prefix}{rule.tensor}, which is read from {head}: {tied}")
            key = head
        elif key in names.dropped:
            notes.append(f"{key} is read from {names.stored[key]}: its metadata says that the two are one tensor")
        found[weight] = replace(rule, tensor=prefix + rule.tensor if key is None else names.stored[key])
    strict = not fits or names.is_declared(prefix)
    of_others = {names.stored[name] for of_other in others.values() for name in of_other}
    rest = {name: entry for name, entry in entries.items() if name not in of_others}
    own, outside = _sort(names, rest, prefix, found, modules, strict)
    return BackboneTensors(found, own, outside, tuple(dict.fromkeys(notes)), cause)


class _Names:
    """The names in a checkpoint, without the segments of wrappers, and the tensors that they name."""

    def __init__(
        self,
        translation: Translation,
        rules: Mapping[str, TensorRule],
        current_name: Callable[[str], str],
        entries: Mapping[str, TensorEntry],
        metadata: Mapping[str, str],
        wrappers: frozenset[str],
    ) -> None:
        self._translation, self._wrappers = translation, wrappers
        self._of_model = checkpoint_names(rules.values())
        dropped = {name: kept for name, kept in metadata.items() if name not in entries and kept in entries}
        named = {current_name(name): name for name in dropped | dict(entries)}
        plain = {self._without_wrappers(name): name for name in named}
        self._is_wrapped = len(plain) == len(named) and plain.keys() != named.keys()
        originals = {key: named[name] for key, name in plain.items()} if self._is_wrapped else named
        self.stored = {key: dropped.get(name, name) for key, name in originals.items()}
        """The name of the tensor in the checkpoint, by its name without wrappers."""
        self.dropped = {key for key, name in originals.items() if name in dropped}
        """Names of tensors that were dropped because they share the values of another one."""
        self._originals = originals
        self._under: dict[str, dict[str, str]] = {}

    def under(self, prefix: str) -> dict[str, str]:
        """Returns the names that begin with a prefix, by what follows it."""
        if prefix not in self._under:
            names = [name for name in self.stored if name.startswith(prefix)]
            self._under[prefix] = {self._plain(name, prefix): name for name in names}
        return self._under[prefix]

    def find(self, prefix: str, tensor: str) -> str | None:
        """Returns the name of a tensor under a prefix, or under a part of the prefix, such as that of a head."""
        for outer in _ancestors(prefix):
            if tensor in (names := self.under(outer)):
                return names[tensor]
        return None

    def count_prefixes(self, tensors: set[str], without: Collection[str] = ()) -> Counter[str]:
        """Counts, for each prefix, the tensors that the checkpoint has under it, without some names."""
        counts: Counter[str] = Counter()
        for name in (name for name in self.stored if name not in without):
            parts = name.split(".", _MOST_SEGMENTS)
            for count in range(len(parts)):
                prefix = "".join(f"{part}." for part in parts[:count])
                counts[prefix] += self._plain(name, prefix) in tensors
        return counts

    def other_backbones(self, prefix: str, required: set[str], rules: Collection[TensorRule]) -> dict[str, set[str]]:
        """Returns the names of other backbones, or of parts of them, and of their heads, by prefix.

        Under such a prefix are most of the tensors that a backbone needs, a few of its tensors, or its token table.

        Args:
            prefix: The prefix of the backbone that is read.
            required: The tensors that the architecture needs.
            rules: The rules of all its tensors.
        """
        tensors = {rule.tensor for rule in rules}
        own = {name for tensor in tensors if (name := self.find(prefix, tensor)) is not None}
        tables = {rule.tensor for rule in rules if rule.tied}
        evidence = ((required, len(required) // 2 + 1), (tensors, _FEWEST_OF_PART), (tables, 1))
        others = {
            other
            for wanted, fewest in evidence
            for other, count in self.count_prefixes(wanted, without=own).items()
            if count >= fewest and other != prefix
        }
        modules = set(map(_module, tensors))
        return {other: self._names_of_other(other, prefix, modules) for other in sorted(others)}

    def _names_of_other(self, other: str, prefix: str, modules: set[str]) -> set[str]:
        if prefix.startswith(other):  # a head there may be that of either
            under = {name for rest, name in self.under(other).items() if _module(rest) in modules}
            return {name for name in under if not name.startswith(prefix)}
        branch = next(outer for outer in reversed([*_ancestors(other)]) if not prefix.startswith(outer))
        return set(self.under(branch).values())

    def is_declared(self, prefix: str) -> bool:
        """Says whether a prefix is one that the translation declares, perhaps within another one."""
        return any(declared and f".{prefix}".endswith(f".{declared}") for declared in self._translation.prefixes)

    def prefix_notes(self, prefix: str, others: Mapping[str, set[str]]) -> list[str]:
        """Returns how the backbone's names differ from those that the translation declares.

        Args:
            prefix: The prefix of the backbone.
            others: The names of other backbones, by prefix.
        """
        inner = [] if prefix in self._translation.prefixes else [_prefix_note(prefix)]
        own = set(self.under(prefix).values()).difference(*others.values())
        wrappers = {part for name in own for part in self._originals[name].split(".")} & self._wrappers
        if not self._is_wrapped or not wrappers:
            return inner
        original = self._original(prefix, own)
        if original != prefix:
            return [_prefix_note(original)]
        used = ", ".join(sorted(wrappers))
        return [f"its tensor names have segments of wrappers, which are left out: {used}", *inner]

    def other_notes(self, others: Mapping[str, set[str]]) -> list[str]:
        """Returns which backbones are not read; `others` are their names, by prefix."""
        prefixes = [self._original(prefix, names) for prefix, names in others.items()]
        return [f"another backbone under {prefix!r} is not read" for prefix in prefixes]

    def _original(self, prefix: str, names: set[str]) -> str:
        """Returns a prefix with the segments of wrappers; without them, if the names under it have others, too."""
        under = {name.removeprefix(prefix): self._originals[name] for name in names if name.startswith(prefix)}
        parts = {original.removesuffix(name) for name, original in under.items()}
        alike = len(parts) == 1 and all(original.endswith(name) for name, original in under.items())
        return parts.pop() if alike else prefix

    def is_ignored(self, plain: str) -> bool:
        """Says whether the translation ignores a tensor of this name."""
        return any_match(plain, self._translation.ignored)

    def _plain(self, name: str, prefix: str) -> str:
        plain = self._translation.current_name(name.removeprefix(prefix))
        return self._of_model.get(plain, plain)

    def _without_wrappers(self, name: str) -> str:
        parts = name.split(".")
        if self._wrappers.isdisjoint(parts):
            return name
        return ".".join(part for part in parts if part not in self._wrappers)


def _choose_prefix(names: _Names, translation: Translation, required: set[str], checkpoint: object) -> tuple[str, bool]:
    """Returns the prefix of the backbone's names, and whether all required tensors are found with it."""

    def fits(prefix: str) -> bool:
        direct = required & names.under(prefix).keys()
        rest = (names.find(prefix, name) for name in required - direct)
        return 2 * len(direct) > len(required) and None not in rest

    fitting = [prefix for prefix in dict.fromkeys(translation.prefixes) if fits(prefix)]
    counts: Counter[str] = Counter()
    if not fitting:
        counts = names.count_prefixes(required)
        fitting = [prefix for prefix, count in counts.items() if 2 * count > len(required) and fits(prefix)]
        fitting = _outermost(fitting, translation.prefixes) or fitting
    if len(fitting) > 1:
        shown = ", ".join(map(repr, sorted(fitting)))
        raise WeightsMismatchError(
            checkpoint,
            cause=f"it holds {len(fitting)} backbones, whose tensor names begin with {shown}",
            remedy="Save the tensors of one of them to a file of their own",
        )
    if fitting:
        return fitting[0], True
    best, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if 2 * count > len(required):
        return best, False
    declared = (prefix for prefix in translation.prefixes if prefix and names.under(prefix))
    return next(declared, ""), False


def _sort(
    names: _Names,
    entries: Mapping[str, TensorEntry],
    prefix: str,
    found: Mapping[str, TensorRule],
    modules: set[str],
    strict: bool,
) -> tuple[dict[str, TensorEntry], list[str]]:
    """Sorts the tensors into the backbone's and others; leaves out those that the translation ignores.

    Tensors outside the prefix are not the backbone's. Within a prefix that the translation declares (`strict`), all
    are; without one, a head has the same prefix: then those are the backbone's that are in one of its `modules`.
    """
    used = {rule.tensor for rule in found.values()}
    plain = {names.stored[name]: rest for rest, name in names.under(prefix).items() if name not in names.dropped}
    own, outside = {}, []
    for name, entry in entries.items():
        rest = plain.get(name)
        if name in used:
            own[name] = entry
        elif rest is not None and names.is_ignored(rest):
            continue
        elif rest is not None and (strict or _module(rest) in modules):
            own[name] = entry
        else:
            outside.append(name)
    return own, outside


def _cause(entries: Mapping[str, TensorEntry], prefix: str, translation: Translation, checkpoint: object) -> str:
    """Returns why weights have no tensor, or an empty text if the names do not tell.

    Raises:
        WeightsMismatchError: the names are those of a model with an adapter.
    """
    parts = {part for name in entries for part in name.split(".")}
    if "base_layer" in parts:
        added = ", ".join(sorted(part for part in parts if part == "base_layer" or part.startswith("lora_")))
        raise WeightsMismatchError(
            checkpoint,
            cause=f"they are those of a PEFT model whose adapter is not merged: names contain {added}",
            remedy="In PEFT, save the result of merge_and_unload() with save_pretrained. Or save the adapter with the "
            "PeftModel's save_pretrained, and call load_lora_weights here on the base model",
        )
    return "" if prefix in translation.prefixes else f"its tensor names begin with {prefix!r}, and not all fit"


def _outermost(prefixes: Collection[str], declared: Iterable[str]) -> list[str]:
    """Returns the prefix whose segments all others have, in order, next to further ones; an empty list if none is.

    Then the others are copies within other modules: `net.` of `net.` and `ema.net.`. They are not if a declared prefix
    is all that they add.
    """
    return [
        prefix
        for prefix in prefixes
        if all(_contains(other, prefix) for other in prefixes)
        and not any(prefix + inner in prefixes for inner in declared if inner)
    ]


def _contains(prefix: str, segments: str) -> bool:
    rest = iter(prefix.split("."))
    return all(segment in rest for segment in segments.split("."))


def _ancestors(prefix: str) -> Iterator[str]:
    """Yields a prefix and its own prefixes, the longest first, such as `a.b.`, `a.` and an empty one."""
    while prefix:
        yield prefix
        prefix = prefix[: prefix.rstrip(".").rfind(".") + 1]
    yield ""


def _module(tensor: str) -> str:
    """Returns the outermost module in a tensor's name."""
    return _SEPARATORS.split(tensor, maxsplit=1)[0]


def _prefix_note(prefix: str) -> str:
    return f"its tensor names begin with {prefix!r}, which is left out"
