"""Frozen dataclasses that plugins contribute and that the core passes to them; nothing here imports a framework."""

from vertebra.specs.architectures import BUILTIN_FORMATS as BUILTIN_FORMATS
from vertebra.specs.architectures import BackboneSpec as BackboneSpec
from vertebra.specs.architectures import DemoContext as DemoContext
from vertebra.specs.architectures import FormatSpec as FormatSpec
from vertebra.specs.architectures import resolve_reference as resolve_reference
from vertebra.specs.lora import AdapterTensor as AdapterTensor
from vertebra.specs.lora import LoraConfig as LoraConfig
from vertebra.specs.lora import LoraReceipt as LoraReceipt
from vertebra.specs.lora import MergeReceipt as MergeReceipt
from vertebra.specs.presets import LoadedPreset as LoadedPreset
from vertebra.specs.presets import PresetFile as PresetFile
from vertebra.specs.presets import PresetSpec as PresetSpec
from vertebra.specs.runtimes import Device as Device
from vertebra.translations import TensorRule as TensorRule
