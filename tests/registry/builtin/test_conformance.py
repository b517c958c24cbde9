"""The conformance suite for sources, run for the core's own sources."""

import pytest

from vertebra import PresetHandle
from vertebra.builtin.local import FolderSource
from vertebra.builtin.package import PackageSource
from vertebra.testing import SourceSuite


class TestLocal(SourceSuite):
    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "presets"

    @pytest.fixture
    def handle_of(self, folder):
        """Returns a handle of a folder inside the folder."""
        return lambda name: PresetHandle("file", str(folder / name))

    @pytest.fixture
    def source(self):
        return FolderSource()

    @pytest.fixture
    def publish(self, folder, handle_of):
        def publish(files):
            for name, content in files.items():
                (folder / "bert" / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / "bert" / name).write_bytes(content)
            return handle_of("bert")

        return publish

    @pytest.fixture
    def missing_handle(self, handle_of):
        return handle_of("missing")


class TestPackage(TestLocal):
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        package = tmp_path / "vertebra_conformance_package"
        package.mkdir()
        (package / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        return package

    @pytest.fixture
    def handle_of(self, folder):
        return lambda name: PresetHandle("package", f"{folder.name}/{name}")

    @pytest.fixture
    def source(self):
        return PackageSource()
