"""The rules for tokenizers."""

import json
from pathlib import Path

import pytest
from vertebra import TokenizerSpec
from vertebra_text.testing import TokenizerSuite

from example_plugin import vertebra_tokenizers
from example_plugin.tokenizer import FILE


class TestExamplePlugin(TokenizerSuite):
    @pytest.fixture
    def spec(self) -> TokenizerSpec:
        (spec,) = vertebra_tokenizers()
        return spec

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / FILE).write_text(json.dumps({"characters": list(" abcd")}))
        return tmp_path
