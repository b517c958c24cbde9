"""The plugin module of the built-in contributions."""

from vertebra.builtin.keras_lora import KerasLora
from vertebra.builtin.local import FolderSource
from vertebra.builtin.lora import Lora
from vertebra.builtin.package import PackageSource
from vertebra.hookspecs import hookimpl
from vertebra.interfaces import PresetSource
from vertebra.strategies import LoraStrategy


@hookimpl
def vertebra_preset_sources() -> list[PresetSource]:
    return [FolderSource(), PackageSource()]


@hookimpl
def vertebra_lora_strategies() -> list[LoraStrategy]:
    return [Lora(), KerasLora()]
