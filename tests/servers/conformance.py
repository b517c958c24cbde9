"""What holds for every source that downloads and uploads, for those of the servers of this folder.

Subclass `ServiceSuite` and `PublishedSuite` with names that pytest collects, and give their fixtures.
"""

import numpy as np
import pytest

import vertebra
from servers import faults
from vertebra.testing import RemoteSourceSuite


class ServiceFaults:
    """The faults of a server, as `vertebra.testing.Faults`."""

    def __init__(self, service, glob):
        self.service, self.glob = service, glob

    def cut(self, name, times):
        self.service.faults = [faults.cut(0.5, files=self.glob(name), times=times)]

    def flip(self, name):
        self.service.faults = [faults.flip_bit(30_000, files=self.glob(name))]

    def heal(self):
        self.service.faults = []


class ServiceSuite(RemoteSourceSuite):
    """The tests of a remote source, whose server counts requests and has faults."""

    @pytest.fixture
    def service(self):
        """The server; if it has a `storage` of its own, both share their faults."""
        raise NotImplementedError

    def glob(self, name):
        """The glob of a file for faults."""
        return f"*{name}"

    @pytest.fixture
    def requests(self, service):
        servers = [service, service.storage] if hasattr(service, "storage") else [service]
        return lambda: sum(len(server.requests) for server in servers)

    @pytest.fixture
    def faults(self, service):
        return ServiceFaults(service, self.glob)

    @pytest.fixture
    def redirect(self, service):
        def redirect(location):
            service.faults = [faults.redirect(location, paths="*", methods=("GET", "HEAD", "POST"))]

        return redirect


class PublishedSuite:
    """Presets and adapters are published, and load as from a folder; its module needs Keras."""

    @pytest.fixture
    def new_handle(self):
        """A handle without a preset that the user may upload to."""
        raise NotImplementedError

    def test_a_preset_is_published_and_comes_back(self, new_handle, cache, backbone, values, tmp_path):
        backbone.save_to_preset(tmp_path / "mine")
        published = vertebra.upload_preset(new_handle, tmp_path / "mine")
        assert vertebra.upload_preset(new_handle, tmp_path / "mine") == published
        loaded = vertebra.Backbone.from_preset(str(new_handle), verify=True)
        assert all(np.array_equal(value, values(loaded)[name]) for name, value in values(backbone).items())

    @pytest.mark.parametrize("name", ["peft_dora", "kerashub_lora.lora.h5"])
    def test_an_adapter_is_published_and_comes_back(self, new_handle, cache, backbone, golden, name):
        published = vertebra.upload_preset(new_handle, golden / name)
        assert backbone.load_lora_weights(str(new_handle)).source == str(published)
