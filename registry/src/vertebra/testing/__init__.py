"""Tests that every plugin of a kind must pass, for whoever writes one: subclass a suite, and give it its fixtures."""

import pytest

pytest.register_assert_rewrite("vertebra.testing.sources")

from vertebra.testing.sources import Faults, RemoteSourceSuite, SourceSuite  # noqa: E402 (after its asserts are made to explain themselves)

__all__ = ["Faults", "RemoteSourceSuite", "SourceSuite"]
