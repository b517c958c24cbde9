"""The classes of architectures, imported by name."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra._discovery import runtimes
from vertebra._discovery.catalog import BACKBONES, Entry, catalog, imported
from vertebra.errors import PluginError, RuntimeBoundError, RuntimeChoiceError
from vertebra.errors.base import shown
from vertebra.interfaces import Runtime
from vertebra.specs import BackboneSpec


def bind_any(name: str, requested: str | None = None) -> Runtime:
    """Binds a runtime as `runtimes.bind` does, or the first one that computes a class if none was chosen.

    Raises:
        RuntimeChoiceError: no runtime is installed.
    """
    known = catalog(BACKBONES)
    return bind_for([known.lookup(name).value] if name in known else [], requested)


def bind_for(specs: Sequence[BackboneSpec], requested: str | None = None) -> Runtime:
    """Binds a runtime as `runtimes.bind` does, or the first one that computes most classes if none was chosen.

    Raises:
        RuntimeChoiceError: no runtime is installed.
    """
    try:
        return runtimes.bind(requested)
    except RuntimeChoiceError as error:
        if not error.available:
            raise
        return runtimes.bind(max(error.available, key=lambda name: sum(spec.computes_on(name) for spec in specs)))


def computes_on(name: str, runtime: str) -> bool:
    """Says whether a runtime computes a class; True if no plugin provides the class."""
    return name not in catalog(BACKBONES) or catalog(BACKBONES).lookup(name).value.computes_on(runtime)


def backbone_class(name: str) -> type:
    """Imports an installed backbone class by name.

    Raises:
        UnknownNameError: no plugin provides the class.
        NameClashError: several plugins provide it.
        RuntimeBoundError: the class is for other runtimes than the one of this process.
        RuntimeUnavailableError, UnknownNameError: the class is for other runtimes, and none of them can be used here.
        PluginError: the class cannot be imported from the module that the plugin names, or is no class.
    """
    entry: Entry[BackboneSpec] = catalog(BACKBONES).lookup(name)
    bound = runtimes.bound_backend()
    if bound is not None and not entry.value.computes_on(bound):
        able = [one.name for one in runtimes.available() if entry.value.computes_on(one.name)]
        raise RuntimeBoundError(able[0] if able else runtimes.usable(entry.value.runtimes[0]).name, bound, name)
    loaded = imported(entry, entry.value.backbone)
    if not isinstance(loaded, type):
        raise PluginError(entry.owner.distribution, f"{entry.value.backbone} is {shown(loaded)}, expected a class")
    return loaded
