"""Test suites for plugin authors: subclass a suite, and define its fixtures.

Each kind of plugin has a suite, whose tests check the rules in `docs/rules`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vertebra.testing import tiny_plugin as tiny_plugin
    from vertebra.testing.backbones import BackboneSuite as BackboneSuite
    from vertebra.testing.commands import CommandSuite as CommandSuite
    from vertebra.testing.formats import FileFormatSuite as FileFormatSuite
    from vertebra.testing.formats import FormatSuite as FormatSuite
    from vertebra.testing.memory import MemorySource as MemorySource
    from vertebra.testing.plugins import PluginSuite as PluginSuite
    from vertebra.testing.policies import PolicySuite as PolicySuite
    from vertebra.testing.preset_packs import PresetPackSuite as PresetPackSuite
    from vertebra.testing.remote_sources import Faults as Faults
    from vertebra.testing.remote_sources import RemoteSourceSuite as RemoteSourceSuite
    from vertebra.testing.rules import rule as rule
    from vertebra.testing.runtimes import RuntimeSuite as RuntimeSuite
    from vertebra.testing.signatures import SignatureSuite as SignatureSuite
    from vertebra.testing.sources import SourceSuite as SourceSuite
    from vertebra.testing.sources import opened as opened
    from vertebra.testing.strategies import StrategySuite as StrategySuite
    from vertebra.testing.tiny import TinyBackbone as TinyBackbone
    from vertebra.testing.toy_server import ToyServer as ToyServer

__all__ = [
    "BackboneSuite",
    "CommandSuite",
    "Faults",
    "FileFormatSuite",
    "FormatSuite",
    "MemorySource",
    "PluginSuite",
    "PolicySuite",
    "PresetPackSuite",
    "RemoteSourceSuite",
    "RuntimeSuite",
    "SignatureSuite",
    "SourceSuite",
    "StrategySuite",
    "TinyBackbone",
    "ToyServer",
    "opened",
    "rule",
    "tiny_plugin",
]

_HOMES = {
    "BackboneSuite": "backbones",
    "CommandSuite": "commands",
    "Faults": "remote_sources",
    "FileFormatSuite": "formats",
    "FormatSuite": "formats",
    "MemorySource": "memory",
    "PluginSuite": "plugins",
    "PolicySuite": "policies",
    "PresetPackSuite": "preset_packs",
    "RemoteSourceSuite": "remote_sources",
    "RuntimeSuite": "runtimes",
    "SignatureSuite": "signatures",
    "SourceSuite": "sources",
    "StrategySuite": "strategies",
    "TinyBackbone": "tiny",
    "ToyServer": "toy_server",
    "opened": "sources",
    "rule": "rules",
}

pytest.register_assert_rewrite(*{f"{__name__}.{home}" for home in (*_HOMES.values(), "uploads")})


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # imported at the first use: some suites import Keras
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
