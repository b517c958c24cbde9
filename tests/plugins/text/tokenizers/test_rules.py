"""The rules for tokenizers, for byte-level pairs and for SentencePiece."""

import pytest

from vertebra_text import plugin
from vertebra_text.testing import TokenizerSuite


class TestKinds(TokenizerSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = plugin.vertebra_tokenizers()
        return spec

    @pytest.fixture(params=["roberta", "xlm-roberta"])
    def folder(self, request, make):
        return make(request.param)
