"""Test suites for plugin authors: subclass a suite, and define its fixtures.

Each kind of plugin has a suite, whose tests check the rules in `docs/rules`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vertebra.testing.backbones import BackboneSuite as BackboneSuite
    from vertebra.testing.plugins import PluginSuite as PluginSuite
    from vertebra.testing.remote_sources import Faults as Faults
    from vertebra.testing.remote_sources import RemoteSourceSuite as RemoteSourceSuite
    from vertebra.testing.rules import rule as rule
    from vertebra.testing.sources import SourceSuite as SourceSuite
    from vertebra.testing.sources import opened as opened

__all__ = ["BackboneSuite", "Faults", "PluginSuite", "RemoteSourceSuite", "SourceSuite", "opened", "rule"]

_HOMES = {
    "BackboneSuite": "backbones",
    "Faults": "remote_sources",
    "PluginSuite": "plugins",
    "RemoteSourceSuite": "remote_sources",
    "SourceSuite": "sources",
    "opened": "sources",
    "rule": "rules",
}

pytest.register_assert_rewrite(*{f"{__name__}.{home}" for home in _HOMES.values()})


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # imported at the first use: some suites import Keras
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
