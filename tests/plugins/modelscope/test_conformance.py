"""What holds for every source that downloads, for this one: a server that ModelScope's own client understands."""

import pytest

from servers.conformance import ServiceSuite
from vertebra import PresetHandle
from vertebra_modelscope.source import ModelScopeSource


class TestModelScope(ServiceSuite):
    @pytest.fixture
    def source(self, service):
        return ModelScopeSource()

    @pytest.fixture
    def service(self, service):
        return service

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
    def new_handle(self, secret, service):
        return PresetHandle("modelscope", "acme/new")
