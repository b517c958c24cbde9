"""What loading a preset did that its user may not expect, said once and by name."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from vertebra._formats.description import PresetDescription
from vertebra._presets.assets import NOT_HERE, CarriedAssets
from vertebra._presets.untied_heads import untied_heads
from vertebra._system.user_warnings import warn
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.match import Match
from vertebra._weights.tensor_entry import itemsize

_MOST_NAMES = 20
_WORTH_SAYING = 10**6
"""Bytes of new memory."""
log = logging.getLogger("vertebra")


def fresh_weights(contents: PresetDescription, found: Match) -> None:
    """Warns of weights that the checkpoint does not have."""
    if found.fresh:
        message = f"{contents.folder.handle} has no values for {', '.join(found.fresh)}: newly initialised, train them"
        warn(message)


def unused_tensors(contents: PresetDescription, found: Match) -> None:
    """Names tensors that are not the backbone's, such as those of a head."""
    if found.outside:
        names = ", ".join(found.outside[:_MOST_NAMES]) + (", …" if len(found.outside) > _MOST_NAMES else "")
        log.warning("%s: %d tensors of its head were not used: %s", contents.folder.handle, len(found.outside), names)


def assets_left_out(assets: CarriedAssets) -> None:
    """Names the files, and the fields of its config, that were not saved with a backbone."""
    if str(assets):
        is_missing = NOT_HERE in assets.left_out.values()
        remedy = f". Fetch them with: vertebra pull {assets.source}, and save again" if is_missing else ""
        log.warning("%s: saved without %s%s", assets.source, assets, remedy)


def untied_logits(
    contents: PresetDescription, checkpoint: Checkpoint, found: Match, consequence: str = ""
) -> list[str]:
    """Says that the logits of the model are not those of its token table.

    Args:
        contents: The preset.
        checkpoint: Its weights, of which some rows are read.
        found: How they fill the backbone.
        consequence: What else follows from it.

    Returns:
        What says so: names of heads, or a field of the config.
    """
    heads = untied_heads(contents.untied, found.sources, found.outside, checkpoint.entries, checkpoint.view) or []
    if heads:
        log.warning("%s: %s%s", contents.folder.handle, untied_logits_text(heads), consequence)
    return heads


def untied_logits_text(heads: Sequence[str]) -> str:
    """Returns what it means that a head is not the token table."""
    return (
        f"its head is another matrix than the token table ({', '.join(heads)}), so token_embedding(x, reverse=True) "
        "does not compute its logits; the outputs of the backbone are right"
    )


def second_checkpoint(contents: PresetDescription) -> None:
    """Says that a preset holds weights that are not read, besides those that are."""
    if contents.not_read is not None:
        log.warning("%s: %s", contents.folder.handle, second_checkpoint_text(contents))


def second_checkpoint_text(contents: PresetDescription) -> str:
    """Returns which of two checkpoints is read."""
    return (
        f"it holds two checkpoints: {contents.files.weights} is read, {contents.not_read} and its shards are not; "
        "vertebra verify tells which is newer and whether they are the same. Remove one of them"
    )


def widened_weights(
    contents: PresetDescription, checkpoint: Checkpoint, weights: Mapping[str, Any], found: Match
) -> None:
    """Says that weights take more memory than they are stored in, because nobody asked for their dtype."""
    stored = {name: checkpoint.entries[rule.tensor].dtype for name, rule in found.sources.items()}
    widened = [name for name, dtype in stored.items() if itemsize(str(weights[name].dtype)) > itemsize(dtype)]
    size = sum(math.prod(weights[name].shape) * itemsize(str(weights[name].dtype)) for name in widened)
    if size >= _WORTH_SAYING:
        there, here = stored[widened[0]], weights[widened[0]].dtype
        log.warning(
            "%s: stored in %s, loaded in %s, which takes %.1f MB of new memory; dtype=%r would view the file",
            *(contents.folder.handle, there, here, size / 1e6, there),
        )
