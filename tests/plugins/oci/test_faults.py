"""Transfers from a registry that go wrong (NW-03 to NW-06)."""

import pytest

from servers.oci_registry import digest_of
from servers.transfers import FILES, TransferSuite
from vertebra.testing import opened


@pytest.fixture(scope="module")
def pushed():
    """The files that all tests read, once they have been pushed."""
    return {}


class TestTransfers(TransferSuite):
    @pytest.fixture
    def service(self, proxy):
        return proxy

    @pytest.fixture
    def pinned(self, source, pushed, destination, proxy, write):
        if not pushed:
            source.upload(destination, write(FILES), False, "message")
            pushed["repository"] = destination.path.partition("/")[2]
        handle = type(destination)("oci", f"{proxy.registry}/{pushed['repository']}")
        pinned = opened(source).resolve(handle)
        opened(source).files(pinned)
        return pinned

    def glob(self, name):
        return f"*{digest_of(FILES[name])}"
