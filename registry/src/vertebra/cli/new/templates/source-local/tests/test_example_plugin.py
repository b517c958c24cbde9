"""The rules for sources."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from vertebra import PresetHandle
from vertebra.testing import SourceSuite

from example_plugin import ExamplePluginSource


class TestExamplePlugin(SourceSuite):
    @pytest.fixture
    def source(self, tmp_path: Path) -> ExamplePluginSource:
        return ExamplePluginSource(tmp_path / "presets")

    @pytest.fixture
    def publish(self, tmp_path: Path) -> Callable[[Mapping[str, bytes]], PresetHandle]:
        def publish(files: Mapping[str, bytes]) -> PresetHandle:
            for name, content in files.items():
                path = tmp_path / "presets" / "team" / "bert" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return PresetHandle("example-name", "team/bert")

        return publish

    @pytest.fixture
    def missing_handle(self) -> PresetHandle:
        return PresetHandle("example-name", "team/missing")
