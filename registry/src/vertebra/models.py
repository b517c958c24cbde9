"""The installed backbone classes as attributes: `vertebra.models.BertBackbone`."""

from __future__ import annotations

from typing import Any

from vertebra import _lazy_class
from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra.errors import UnknownNameError


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'vertebra.models' has no attribute {name!r}")
    try:
        catalog(BACKBONES).lookup(name)
    except UnknownNameError as error:
        raise AttributeError(str(error)) from error
    return _lazy_class.resolve_backbone(name)


def __dir__() -> list[str]:
    return [entry.name for entry in catalog(BACKBONES)]
