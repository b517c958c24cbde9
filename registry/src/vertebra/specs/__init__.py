"""Frozen dataclasses that plugins contribute and that the core passes to them; nothing here imports a framework."""

from vertebra.specs.architectures import BUILTIN_FORMATS as BUILTIN_FORMATS
from vertebra.specs.architectures import BackboneSpec as BackboneSpec
from vertebra.specs.architectures import DemoContext as DemoContext
from vertebra.specs.architectures import FormatSpec as FormatSpec
from vertebra.specs.architectures import resolve_reference as resolve_reference
from vertebra.specs.heads import HeadSpec as HeadSpec
from vertebra.specs.lora import AdapterTensor as AdapterTensor
from vertebra.specs.lora import LoraConfig as LoraConfig
from vertebra.specs.lora import LoraReceipt as LoraReceipt
from vertebra.specs.lora import MergeReceipt as MergeReceipt
from vertebra.specs.preset_files import PresetFiles as PresetFiles
from vertebra.specs.presets import LoadedPreset as LoadedPreset
from vertebra.specs.presets import PresetFile as PresetFile
from vertebra.specs.presets import PresetSpec as PresetSpec
from vertebra.specs.runtimes import Device as Device
from vertebra.specs.tasks import CommandSpec as CommandSpec
from vertebra.specs.tasks import DescribedPreset as DescribedPreset
from vertebra.specs.tasks import PresetTokenizer as PresetTokenizer
from vertebra.specs.tasks import TaskExport as TaskExport
from vertebra.specs.tasks import TaskFacts as TaskFacts
from vertebra.specs.tasks import TaskPreset as TaskPreset
from vertebra.specs.tasks import TaskSpec as TaskSpec
from vertebra.specs.tasks import TextSample as TextSample
from vertebra.specs.tasks import TokenizerSpec as TokenizerSpec
from vertebra.translations import TensorRule as TensorRule
