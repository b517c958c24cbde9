"""The rules for signatures."""

import pytest

from vertebra.testing import SignatureSuite
from vertebra_signing import plugin


class TestModelSigning(SignatureSuite):
    @pytest.fixture
    def scheme(self):
        (scheme,) = plugin.vertebra_signatures()
        return scheme

    @pytest.fixture
    def key(self, keys):
        return keys / "ours.pem"

    @pytest.fixture
    def public_key(self, keys):
        return keys / "ours.pub"

    @pytest.fixture
    def other_key(self, keys):
        return keys / "other.pub"
