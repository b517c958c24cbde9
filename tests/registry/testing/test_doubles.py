"""The doubles of the kit are themselves sound: they pass the suites."""

import pytest

from vertebra import PresetHandle
from vertebra.testing import MemorySource, RemoteSourceSuite, ToyServer, opened

SECRET = "a-secret-of-the-user"


class TestMemorySource(RemoteSourceSuite):
    @pytest.fixture
    def source(self):
        return MemorySource()

    @pytest.fixture
    def publish(self, source):
        return lambda files: source.add("team/bert", files)

    @pytest.fixture
    def missing_handle(self):
        return PresetHandle("memory", "team/missing")

    @pytest.fixture
    def new_handle(self):
        return PresetHandle("memory", "team/new")

    @pytest.fixture
    def requests(self, source):
        return lambda: len(source.requests)

    def test_requests_are_listed(self, source, publish):
        handle = publish({"config.json": b"{}", "other.txt": b"x"})
        opened(source).fetch(opened(source).resolve(handle), "config.json")
        assert source.requests == ["files team/bert", "read config.json"]


class TestToyServer(RemoteSourceSuite):
    client = "urllib3"

    @pytest.fixture
    def server(self):
        with ToyServer() as server:
            yield server

    @pytest.fixture
    def secret(self):
        return SECRET

    @pytest.fixture
    def source(self, server):
        return server.source(SECRET)

    @pytest.fixture
    def publish(self, server):
        return lambda files: server.publish("team/bert", files)

    @pytest.fixture
    def missing_handle(self):
        return PresetHandle("toy", "team/missing")

    @pytest.fixture
    def requests(self, server):
        return lambda: len(server.requests)

    @pytest.fixture
    def faults(self, server):
        return server

    @pytest.fixture
    def redirect(self, server):
        return lambda location: setattr(server, "location", location)
