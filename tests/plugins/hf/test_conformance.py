"""What holds for every source, for this one: the real client and a hub on the loopback interface."""

import pytest

from servers.conformance import ServiceSuite
from vertebra import PresetHandle
from vertebra_hf.source import HfSource

TOKEN = "hf_goodgoodgoodgood"


class TestHf(ServiceSuite):
    client = "huggingface_hub"

    @pytest.fixture
    def source(self):
        return HfSource()

    @pytest.fixture
    def service(self, hub):
        return hub

    @pytest.fixture
    def publish(self, hub):
        def publish(files):
            hub.commit("acme/bert", files)
            return PresetHandle("hf", "acme/bert")

        return publish

    @pytest.fixture
    def missing_handle(self, hub):
        return PresetHandle("hf", "acme/missing")

    @pytest.fixture
    def secret(self, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        return TOKEN

    @pytest.fixture(params=["acme/new", "acme/new/small"])
    def new_handle(self, request, hub, secret):
        return PresetHandle("hf", request.param)


class TestFolder(TestHf):
    """The same for presets in a folder of a repository."""

    @pytest.fixture
    def publish(self, hub):
        def publish(files):
            inside = {f"presets/small/{name}": content for name, content in files.items()}
            hub.commit("acme/bert", {"config.json": b"not this one", **inside})
            return PresetHandle("hf", "acme/bert/presets/small")

        return publish

    @pytest.fixture
    def missing_handle(self, hub):
        hub.commit("acme/bert", {"presets/small/config.json": b"{}"})
        return PresetHandle("hf", "acme/bert/presets/large")
