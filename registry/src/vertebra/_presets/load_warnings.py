"""Warnings about results of loading or saving a preset that the user may not expect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vertebra._formats.description import PresetDescription
from vertebra._presets.assets import NOT_LOCAL, CarriedAssets
from vertebra._presets.untied_heads import untied_heads
from vertebra._system.log import log
from vertebra._system.user_warnings import warn
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.match import Match
from vertebra._weights.tensor_entry import itemsize

_MOST_NAMES = 20
_WORTH_SAYING = 10**6
"""Bytes of new memory from which on `widened_weights` warns."""


def fresh_weights(description: PresetDescription, match: Match) -> None:
    """Warns about weights that the checkpoint lacks."""
    if match.fresh:
        names = ", ".join(match.fresh)
        warn(f"{description.folder.handle} has no values for {names}: they are initialised randomly, so train them")


def untidy_preset(description: PresetDescription, notes: Sequence[str]) -> None:
    """Tells how a preset was read that is not quite in its format, such as with names under a wrapper's prefix."""
    for note in notes:
        log.warning("%s: %s", description.folder.handle, note)


def unused_tensors(description: PresetDescription, match: Match) -> None:
    """Warns about tensors that are not the backbone's, such as those of a head."""
    if match.outside:
        names = ", ".join(match.outside[:_MOST_NAMES]) + (", …" if len(match.outside) > _MOST_NAMES else "")
        log.warning("%s: %d tensors of its head are not used: %s", description.folder.handle, len(match.outside), names)


def assets_left_out(assets: CarriedAssets) -> None:
    """Warns about the files and config fields that were not saved with a backbone, and about its tokenizer."""
    if str(assets):
        is_missing = NOT_LOCAL in assets.left_out.values()
        remedy = f". To save them, run: vertebra pull {assets.source}, and save again" if is_missing else ""
        log.warning("%s: saved without %s%s", assets.source, assets, remedy)
    for note in assets.notes:
        log.warning("%s: %s", assets.source, note)


def followed_links(assets: CarriedAssets) -> None:
    """Warns about copied files that the preset's folder has as links to files outside of it."""
    if assets.links:
        names = ", ".join(f"{name} -> {target}" for name, target in list(assets.links.items())[:_MOST_NAMES])
        rest = ", …" if len(assets.links) > _MOST_NAMES else ""
        log.warning("%s: saved with the files that its links lead to, outside of it: %s%s", assets.source, names, rest)


def untied_logits(
    description: PresetDescription, checkpoint: Checkpoint, match: Match, consequence: str = ""
) -> list[str]:
    """Warns if the logits of the model are not those of its token table.

    Args:
        description: The preset.
        checkpoint: Its mapped weights; some rows of them are read.
        match: How the tensors fill the backbone.
        consequence: Text to append, about further consequences.

    Returns:
        The evidence: names of heads, or a field of the config; empty if there is none.
    """
    heads = untied_heads(description.untied, match.sources, match.outside, checkpoint.entries, checkpoint.view) or []
    if heads:
        log.warning("%s: %s%s", description.folder.handle, untied_logits_text(heads), consequence)
    return heads


def heads_with_own_values(checkpoint: Checkpoint, match: Match) -> list[str]:
    """Returns the names of the tensors that are matrices for logits, and differ from the token table."""
    return untied_heads(None, match.sources, match.outside, checkpoint.entries, checkpoint.view) or []


def untied_logits_text(heads: Sequence[str]) -> str:
    """Returns the explanation for a head that is not the token table."""
    return (
        f"its head is not tied to the token table ({', '.join(heads)}), so token_embedding(x, reverse=True) does not "
        "compute the model's logits; the outputs of the backbone are not affected"
    )


def second_checkpoint(description: PresetDescription) -> None:
    """Warns if a preset has a second checkpoint, which is not read."""
    if description.not_read is not None:
        log.warning("%s: %s", description.folder.handle, second_checkpoint_text(description))


def second_checkpoint_text(description: PresetDescription) -> str:
    """Returns the explanation of which checkpoint is read."""
    return (
        f"it holds two checkpoints: {description.files.weights} is read, {description.not_read} and its shards are "
        "not. Run vertebra verify to see which is newer and whether they differ, and remove one of them"
    )


def computed_otherwise(description: PresetDescription) -> None:
    """Warns if the library that the preset is of computes otherwise than its config says, and so than the backbone."""
    if description.difference is not None:
        log.warning("%s: %s", description.folder.handle, computed_otherwise_text(description))


def computed_otherwise_text(description: PresetDescription) -> str:
    """Returns the explanation of the difference between backbone and library."""
    return f"its config has {description.difference}; this backbone computes what the config says"


def widened_weights(
    description: PresetDescription, checkpoint: Checkpoint, weights: Mapping[str, Any], match: Match
) -> None:
    """Warns if weights are converted to a wider dtype than the stored one, which a `dtype` argument would avoid."""
    stored = {name: checkpoint.entries[rule.tensor].dtype for name, rule in match.sources.items()}
    widened = [name for name, dtype in stored.items() if itemsize(str(weights[name].dtype)) > itemsize(dtype)]
    size = sum(math.prod(weights[name].shape) * itemsize(str(weights[name].dtype)) for name in widened)
    if size >= _WORTH_SAYING:
        stored_dtype, dtype = stored[widened[0]], weights[widened[0]].dtype
        log.warning(
            "%s: stored in %s and loaded in %s, which takes %.1f MB of memory; dtype=%r would use the mapped file",
            *(description.folder.handle, stored_dtype, dtype, size / 1e6, stored_dtype),
        )
