"""Tests that every plugin of a kind must pass, for whoever writes one: subclass a suite, and give it its fixtures."""

import pytest

pytest.register_assert_rewrite("vertebra.testing.sources", "vertebra.testing.remote_sources")

from vertebra.testing.remote_sources import Faults, RemoteSourceSuite  # noqa: E402 (after its asserts are made to explain themselves)
from vertebra.testing.sources import SourceSuite, opened  # noqa: E402 (the same)

__all__ = ["Faults", "RemoteSourceSuite", "SourceSuite", "opened"]
