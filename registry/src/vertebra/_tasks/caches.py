"""The caches that architectures declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra.specs import CacheLayer, resolve_reference
from vertebra.specs.caches import checked_layers


def cache_of_architecture(backbone: str, arguments: Mapping[str, Any]) -> tuple[CacheLayer, ...] | None:
    """Returns what each attention layer caches; the arguments are those of `vertebra.tasks.cache_of_architecture`."""
    backbones = catalog(BACKBONES)
    reference = backbones.lookup(backbone).value.cache if backbone in backbones else None
    if reference is None:
        return None
    layers = resolve_reference(reference)(arguments)
    return () if layers is None else checked_layers(layers, reference)
