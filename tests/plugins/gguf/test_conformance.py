"""GGUF keeps the rules of formats of single files."""

import pytest

import gguf_bytes
from vertebra.testing import FileFormatSuite
from vertebra_gguf.plugin import vertebra_formats

pytestmark = pytest.mark.keras(once=True)


class TestGguf(FileFormatSuite):
    @pytest.fixture
    def format(self):
        (format,) = vertebra_formats()
        return format

    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "model.gguf"
        path.write_bytes(gguf_bytes.gpt2())
        return path
