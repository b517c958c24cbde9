"""The rules for policies, and the answers to the addresses that matter here."""

from types import ModuleType

import pytest
from vertebra import PresetHandle
from vertebra.testing import PolicySuite

import example_plugin

MIRRORED = PresetHandle.parse("hf://example-org/bert@main")
MIRROR = PresetHandle.parse("example-mirror://example-org/bert@main")
UNREVIEWED = PresetHandle.parse("hf://example-org/unreviewed-bert@main")


class TestExamplePlugin(PolicySuite):
    @pytest.fixture
    def policy(self) -> ModuleType:
        return example_plugin

    @pytest.fixture
    def allowed(self) -> list[PresetHandle]:
        return [MIRRORED, MIRROR]

    @pytest.fixture
    def refused(self) -> list[PresetHandle]:
        return [UNREVIEWED]

    @pytest.fixture
    def rewritten(self) -> dict[PresetHandle, list[PresetHandle]]:
        return {MIRRORED: [MIRROR, MIRRORED], MIRROR: [MIRROR]}
