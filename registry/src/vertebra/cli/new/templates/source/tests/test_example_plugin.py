"""The rules for remote sources, against a real web server with faults on this machine."""

from collections.abc import Callable, Iterator, Mapping

import pytest
from vertebra import PresetHandle
from vertebra.testing import RemoteSourceSuite, ToyServer

from example_plugin import CREDENTIAL, ExamplePluginSource

SCHEME = ExamplePluginSource.scheme


class TestExamplePlugin(RemoteSourceSuite):
    @pytest.fixture
    def server(self) -> Iterator[ToyServer]:
        with ToyServer() as server:  # replace it by a test server of your service
            yield server

    @pytest.fixture
    def source(self, server: ToyServer, secret: str) -> ExamplePluginSource:
        return ExamplePluginSource(server.url)

    @pytest.fixture
    def publish(self, server: ToyServer) -> Callable[[Mapping[str, bytes]], PresetHandle]:
        return lambda files: PresetHandle(SCHEME, server.publish("team/bert", files).path)

    @pytest.fixture
    def missing_handle(self) -> PresetHandle:
        return PresetHandle(SCHEME, "team/missing")

    # The fixtures below are optional; each lets the suite test more.

    @pytest.fixture
    def secret(self, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv(CREDENTIAL, "the-credential-of-a-user")
        return "the-credential-of-a-user"

    @pytest.fixture
    def requests(self, server: ToyServer) -> Callable[[], int]:
        return lambda: len(server.requests)

    @pytest.fixture
    def faults(self, server: ToyServer) -> ToyServer:
        return server

    @pytest.fixture
    def redirect(self, server: ToyServer) -> Callable[[str], None]:
        return lambda url: setattr(server, "location", url)
