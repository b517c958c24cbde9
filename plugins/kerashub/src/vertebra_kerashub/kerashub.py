"""Translations of the wrapped classes from and to KerasHub's format, whose configs and weights theirs are already."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from vertebra import TensorRule, Translation
from vertebra_kerashub.configs import check_config
from vertebra_kerashub.installed import backbone_classes

_BASE = ("name", "trainable", "dtype", "lora", "quantized")
"""Fields and arguments that all classes have."""


class KerasHubTranslation(Translation):
    """Reads and writes presets of one of KerasHub's classes: arguments are the fields of its config.

    The names of weights follow from the model, which is built without values for them.
    """

    name: str
    """Name of KerasHub's class."""

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        check_config(self.name, config)
        return dict(config)

    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in arguments.items() if name not in _BASE}

    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        module = importlib.import_module("vertebra_kerashub.backbone")  # which imports Keras
        return module.weight_rules(self.name, self.config(arguments))


@functools.cache
def __getattr__(name: str) -> type[KerasHubTranslation]:
    backbone = name.removesuffix("Translation")
    if backbone == name or backbone not in backbone_classes():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return type(name, (KerasHubTranslation,), {"name": backbone})
