"""The classes of architectures, imported by name."""

from __future__ import annotations

from vertebra._discovery.catalog import BACKBONES, Entry, catalog, imported
from vertebra._discovery.runtimes import bound_backend
from vertebra.errors import PluginError, RuntimeBoundError
from vertebra.errors.base import shown
from vertebra.specs import BackboneSpec


def backbone_class(name: str) -> type:
    """Imports an installed backbone class by name.

    Raises:
        UnknownNameError: no plugin provides the class.
        NameClashError: several plugins provide it.
        RuntimeBoundError: the class is for other runtimes than the one of this process.
        PluginError: the class cannot be imported from the module that the plugin names, or is no class.
    """
    entry: Entry[BackboneSpec] = catalog(BACKBONES).lookup(name)
    bound = bound_backend()
    if bound is not None and not entry.value.computes_on(bound):
        raise RuntimeBoundError(entry.value.runtimes[0], bound, name)
    loaded = imported(entry, entry.value.backbone)
    if not isinstance(loaded, type):
        raise PluginError(entry.owner.distribution, f"{entry.value.backbone} is {shown(loaded)}, expected a class")
    return loaded
