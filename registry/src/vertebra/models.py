"""The installed classes as attributes, such as `vertebra.models.BertBackbone` and `BertTextClassifier`.

`Backbone` is the base class of all backbones.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from vertebra import _lazy_class
from vertebra._discovery.catalog import BACKBONES, TASKS, catalog
from vertebra._discovery.task_classes import named_task

if TYPE_CHECKING:
    from vertebra.backbone import Backbone as Backbone


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'vertebra.models' has no attribute {name!r}")
    if name == _lazy_class.BASE:  # KerasHub users find the class here, too
        return _lazy_class.resolve_class(name)
    if named_task(name) is not None:
        return _lazy_class.resolve_class(name)
    if name in catalog(BACKBONES):
        catalog(BACKBONES).lookup(name)  # raises an error if several plugins claim the name
        return _lazy_class.resolve_class(name)
    from vertebra._discovery.unknown_classes import unknown_class

    error = unknown_class(name)
    # Without a name, Python adds no suggestion of its own to that of the error.
    raise AttributeError(str(error), obj=sys.modules[__name__]) from error


def __dir__() -> list[str]:
    return sorted([_lazy_class.BASE, *(entry.name for kind in (BACKBONES, TASKS) for entry in catalog(kind))])
