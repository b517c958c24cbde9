"""What holds for every source that downloads, for this one: a real registry behind a proxy that has faults."""

import pytest

from servers.conformance import ServiceSuite
from servers.oci_registry import digest_of
from vertebra import PresetHandle
from vertebra.testing.sources import FILES
from vertebra_oci.source import OciSource


class TestOci(ServiceSuite):
    @pytest.fixture
    def source(self):
        return OciSource()

    @pytest.fixture
    def service(self, proxy):
        return proxy

    def glob(self, name):
        return f"*{digest_of(FILES[name])}"

    @pytest.fixture
    def new_handle(self, destination):
        return destination


class TestWithTokens(TestOci):
    """A registry that wants a token for each repository, and a handle with a tag."""

    @pytest.fixture
    def new_handle(self, destination):
        return PresetHandle("oci", f"{destination.path}:v1")

    @pytest.fixture(autouse=True)
    def secret(self, tokens, log_in, proxy):
        log_in(proxy.registry, "acme", tokens.users["acme"])
        return tokens.users["acme"]

    @pytest.fixture
    def registry(self, private):
        return private

    @pytest.fixture
    def faults(self):
        pytest.skip("the proxy reads whole blobs without a token")
