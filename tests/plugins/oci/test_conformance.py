"""What holds for every source that downloads, for this one: a real registry behind a proxy that has faults."""

import pytest

from servers import faults
from servers.oci_registry import digest_of
from vertebra import PresetHandle
from vertebra.testing import RemoteSourceSuite
from vertebra.testing.sources import FILES
from vertebra_oci.source import OciSource


class RegistryFaults:
    def __init__(self, proxy):
        self.proxy = proxy

    def cut(self, name, times):
        self.proxy.faults = [faults.cut(0.5, files=f"*{digest_of(FILES[name])}", times=times)]

    def flip(self, name):
        self.proxy.faults = [faults.flip_bit(30_000, files=f"*{digest_of(FILES[name])}")]

    def heal(self):
        self.proxy.faults = []


class TestOci(RemoteSourceSuite):
    @pytest.fixture
    def source(self):
        return OciSource()

    @pytest.fixture
    def new_handle(self, destination):
        return destination

    @pytest.fixture
    def requests(self, proxy):
        return lambda: len(proxy.requests)

    @pytest.fixture
    def faults(self, proxy):
        return RegistryFaults(proxy)


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
    def redirect(self, proxy):
        def redirect(location):
            proxy.faults = [faults.redirect(location, paths="*", methods=("GET", "HEAD"))]

        return redirect

    @pytest.fixture
    def faults(self):
        pytest.skip("the proxy reads whole blobs without a token")
