"""Vertebra: a plugin-based, multi-framework registry of model backbones."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # importing `typing` would take longer than all of this module
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "API_VERSION",
    "AdapterLayer",
    "AdapterTensor",
    "Backbone",
    "BackboneSpec",
    "ByteStream",
    "CacheLayer",
    "CacheLayout",
    "CommandOptionSpec",
    "CommandSpec",
    "DemoContext",
    "DescribedPreset",
    "Device",
    "FileFormat",
    "FileHeader",
    "FileTensor",
    "ForeignConfig",
    "FormatSpec",
    "HeadSpec",
    "LayoutRule",
    "LinearView",
    "LoadedPreset",
    "LocalSource",
    "LoraConfig",
    "LoraReceipt",
    "LoraStrategy",
    "MergeReceipt",
    "MeshAxis",
    "PeftMethod",
    "Placement",
    "PresetFile",
    "PresetFiles",
    "PresetFormat",
    "PresetHandle",
    "PresetSource",
    "PresetSpec",
    "PresetTokenizer",
    "RemoteSource",
    "Runtime",
    "SignatureScheme",
    "Snapshot",
    "TaskExport",
    "TaskFacts",
    "TaskPreset",
    "TaskSpec",
    "TensorRule",
    "TextSample",
    "TokenizerSpec",
    "Translation",
    "WeightPlacement",
    "activations",
    "add_plugin",
    "compile",
    "errors",
    "file_names",
    "files",
    "hints",
    "hookimpl",
    "http",
    "layers",
    "layout_rules",
    "load_model",
    "lora",
    "low_rank",
    "models",
    "open_files",
    "remove_plugin",
    "require_client",
    "runtime_folder",
    "tasks",
    "upload_preset",
    "use",
    "wrapping",
]

_HOMES = {
    "API_VERSION": "hookspecs",
    "AdapterLayer": "strategies",
    "AdapterTensor": "specs",
    "BackboneSpec": "specs",
    "ByteStream": "remote",
    "CommandOptionSpec": "specs",
    "CommandSpec": "specs",
    "DemoContext": "specs",
    "DescribedPreset": "specs",
    "Device": "specs",
    "FileFormat": "interfaces",
    "FileHeader": "specs",
    "FileTensor": "specs",
    "ForeignConfig": "translations",
    "FormatSpec": "specs",
    "CacheLayer": "specs",
    "CacheLayout": "specs",
    "HeadSpec": "specs",
    "LayoutRule": "specs",
    "LinearView": "strategies",
    "LoadedPreset": "specs",
    "LocalSource": "interfaces",
    "LoraConfig": "specs",
    "LoraReceipt": "specs",
    "LoraStrategy": "strategies",
    "MergeReceipt": "specs",
    "MeshAxis": "specs",
    "PeftMethod": "strategies",
    "Placement": "specs",
    "PresetFile": "specs",
    "PresetFiles": "specs",
    "PresetFormat": "interfaces",
    "PresetHandle": "handles",
    "PresetSource": "interfaces",
    "PresetSpec": "specs",
    "PresetTokenizer": "specs",
    "RemoteSource": "remote",
    "Runtime": "interfaces",
    "SignatureScheme": "interfaces",
    "Snapshot": "remote",
    "TaskExport": "specs",
    "TaskFacts": "specs",
    "TaskPreset": "specs",
    "TaskSpec": "specs",
    "TokenizerSpec": "specs",
    "TensorRule": "translations",
    "TextSample": "specs",
    "Translation": "translations",
    "WeightPlacement": "specs",
    "add_plugin": "_api",
    "compile": "_api",
    "files": "_api",
    "hookimpl": "hookspecs",
    "layout_rules": "specs",
    "load_model": "_api",
    "open_files": "_api",
    "remove_plugin": "_api",
    "require_client": "remote",
    "runtime_folder": "_api",
    "upload_preset": "_api",
    "use": "_api",
}

if TYPE_CHECKING:
    from vertebra import activations as activations
    from vertebra import errors as errors
    from vertebra import file_names as file_names
    from vertebra import hints as hints
    from vertebra import http as http
    from vertebra import layers as layers
    from vertebra import lora as lora
    from vertebra import low_rank as low_rank
    from vertebra import models as models
    from vertebra import tasks as tasks
    from vertebra import wrapping as wrapping
    from vertebra._api import add_plugin as add_plugin
    from vertebra._api import compile as compile
    from vertebra._api import files as files
    from vertebra._api import load_model as load_model
    from vertebra._api import open_files as open_files
    from vertebra._api import remove_plugin as remove_plugin
    from vertebra._api import runtime_folder as runtime_folder
    from vertebra._api import upload_preset as upload_preset
    from vertebra._api import use as use
    from vertebra.backbone import Backbone as Backbone
    from vertebra.handles import PresetHandle as PresetHandle
    from vertebra.hookspecs import API_VERSION as API_VERSION
    from vertebra.hookspecs import hookimpl as hookimpl
    from vertebra.interfaces import FileFormat as FileFormat
    from vertebra.interfaces import LocalSource as LocalSource
    from vertebra.interfaces import PresetFormat as PresetFormat
    from vertebra.interfaces import PresetSource as PresetSource
    from vertebra.interfaces import Runtime as Runtime
    from vertebra.interfaces import SignatureScheme as SignatureScheme
    from vertebra.remote import ByteStream as ByteStream
    from vertebra.remote import RemoteSource as RemoteSource
    from vertebra.remote import Snapshot as Snapshot
    from vertebra.remote import require_client as require_client
    from vertebra.specs import AdapterTensor as AdapterTensor
    from vertebra.specs import BackboneSpec as BackboneSpec
    from vertebra.specs import CacheLayer as CacheLayer
    from vertebra.specs import CacheLayout as CacheLayout
    from vertebra.specs import CommandOptionSpec as CommandOptionSpec
    from vertebra.specs import CommandSpec as CommandSpec
    from vertebra.specs import DemoContext as DemoContext
    from vertebra.specs import DescribedPreset as DescribedPreset
    from vertebra.specs import Device as Device
    from vertebra.specs import FileHeader as FileHeader
    from vertebra.specs import FileTensor as FileTensor
    from vertebra.specs import FormatSpec as FormatSpec
    from vertebra.specs import HeadSpec as HeadSpec
    from vertebra.specs import LayoutRule as LayoutRule
    from vertebra.specs import LoadedPreset as LoadedPreset
    from vertebra.specs import LoraConfig as LoraConfig
    from vertebra.specs import LoraReceipt as LoraReceipt
    from vertebra.specs import MergeReceipt as MergeReceipt
    from vertebra.specs import MeshAxis as MeshAxis
    from vertebra.specs import Placement as Placement
    from vertebra.specs import PresetFile as PresetFile
    from vertebra.specs import PresetFiles as PresetFiles
    from vertebra.specs import PresetSpec as PresetSpec
    from vertebra.specs import PresetTokenizer as PresetTokenizer
    from vertebra.specs import TaskExport as TaskExport
    from vertebra.specs import TaskFacts as TaskFacts
    from vertebra.specs import TaskPreset as TaskPreset
    from vertebra.specs import TaskSpec as TaskSpec
    from vertebra.specs import TextSample as TextSample
    from vertebra.specs import TokenizerSpec as TokenizerSpec
    from vertebra.specs import WeightPlacement as WeightPlacement
    from vertebra.specs import layout_rules as layout_rules
    from vertebra.strategies import AdapterLayer as AdapterLayer
    from vertebra.strategies import LinearView as LinearView
    from vertebra.strategies import LoraStrategy as LoraStrategy
    from vertebra.strategies import PeftMethod as PeftMethod
    from vertebra.translations import ForeignConfig as ForeignConfig
    from vertebra.translations import TensorRule as TensorRule
    from vertebra.translations import Translation as Translation


def __getattr__(name: str) -> Any:
    if name == "Backbone":  # a lazy class until Keras is bound to a backend
        return importlib.import_module("vertebra._lazy_class").resolve_class(name)
    if name in _HOMES:
        return getattr(importlib.import_module(f"vertebra.{_HOMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"vertebra.{name}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("vertebra")
    raise AttributeError(f"module 'vertebra' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
