"""The backbone classes of the installed KerasHub, read from its source: importing it takes seconds."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

_EXPORT = re.compile(r"^\s*(?:from \S+ import )?(\w+Backbone) as (\w+Backbone),?$", re.MULTILINE)
"""A line of KerasHub's generated list of public names."""
_ABSTRACT = {"FeaturePyramidBackbone"}


@functools.cache
def backbone_classes() -> tuple[str, ...]:
    """Returns the names of KerasHub's backbone classes, as in configs; none without KerasHub.

    A class that is exported under several names, as `QwenBackbone` and `Qwen2Backbone`, is listed once.
    """
    found = importlib.util.find_spec("keras_hub")  # which imports nothing
    if found is None or not found.submodule_search_locations:
        return ()
    names = Path(next(iter(found.submodule_search_locations)), "models", "__init__.py")
    try:
        exports = _EXPORT.findall(names.read_text(encoding="utf-8"))
    except OSError:  # another layout, of a release that this plugin does not know
        return ()
    return tuple(sorted({registered for registered, _ in exports} - _ABSTRACT))
