"""Test suites for plugin authors: subclass a suite, and define its fixtures."""

import pytest

pytest.register_assert_rewrite("vertebra.testing.sources", "vertebra.testing.remote_sources")

from vertebra.testing.remote_sources import Faults, RemoteSourceSuite  # noqa: E402 (after the assert rewriting is registered)
from vertebra.testing.sources import SourceSuite, opened  # noqa: E402 (the same)

__all__ = ["Faults", "RemoteSourceSuite", "SourceSuite", "opened"]
