"""What loading a preset did that its user may not expect, said once and by name."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping
from typing import Any

from vertebra._presets.assets import NOT_HERE, CarriedAssets
from vertebra._presets.contents import PresetContents
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.matching import Match
from vertebra._weights.safetensors import itemsize

_MOST_NAMES = 20
_WORTH_SAYING = 10**6
"""Bytes of new memory."""
_CALLER = 5
"""How many calls below `from_preset`'s caller a notice is given."""
log = logging.getLogger("vertebra")


def fresh_weights(contents: PresetContents, found: Match) -> None:
    """Warns of weights that the checkpoint does not have."""
    if found.fresh:
        message = f"{contents.folder.handle} has no values for {', '.join(found.fresh)}: newly initialised, train them"
        warnings.warn(message, stacklevel=_CALLER)


def unused_tensors(contents: PresetContents, found: Match) -> None:
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


def widened_weights(contents: PresetContents, checkpoint: Checkpoint, weights: Mapping[str, Any], found: Match) -> None:
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
