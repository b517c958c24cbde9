"""What holds for every source that downloads, for this one: a server that ModelScope's own client understands."""

import pytest

from servers import faults
from vertebra import PresetHandle
from vertebra.testing import RemoteSourceSuite
from vertebra_modelscope.source import ModelScopeSource


class ServiceFaults:
    def __init__(self, service):
        self.service = service

    def cut(self, name, times):
        self.service.faults = [faults.cut(0.5, files=f"*{name}", times=times)]

    def flip(self, name):
        self.service.faults = [faults.flip_bit(30_000, files=f"*{name}")]

    def heal(self):
        self.service.faults = []


class TestModelScope(RemoteSourceSuite):
    @pytest.fixture
    def source(self, service):
        return ModelScopeSource()

    @pytest.fixture
    def publish(self, service):
        def publish(files):
            service.commit("acme/bert", files)
            return PresetHandle("modelscope", "acme/bert")

        return publish

    @pytest.fixture
    def missing_handle(self, service):
        return PresetHandle("modelscope", "acme/missing")

    @pytest.fixture
    def secret(self, token):
        return token

    @pytest.fixture
    def requests(self, service):
        return lambda: len(service.requests) + len(service.storage.requests)

    @pytest.fixture
    def faults(self, service):
        return ServiceFaults(service)

    @pytest.fixture
    def redirect(self, service):
        def redirect(location):
            service.faults = [faults.redirect(location, paths="*")]

        return redirect

    @pytest.fixture
    def new_handle(self, secret, service):
        return PresetHandle("modelscope", "acme/new")
