"""What holds for every source that downloads, for this one: the real client and Kaggle on the loopback interface."""

import pytest

from servers.conformance import ServiceSuite
from vertebra import PresetHandle
from vertebra_kaggle.source import KaggleSource

VARIATION = "acme/bert/keras/small"


class TestKaggle(ServiceSuite):
    client = "kagglehub"

    @pytest.fixture
    def source(self):
        return KaggleSource()

    @pytest.fixture
    def service(self, kaggle):
        return kaggle

    @pytest.fixture
    def publish(self, kaggle):
        def publish(files):
            kaggle.publish(VARIATION, files)
            return PresetHandle("kaggle", VARIATION)

        return publish

    @pytest.fixture
    def missing_handle(self, kaggle):
        return PresetHandle("kaggle", "acme/missing/keras/small")

    @pytest.fixture
    def secret(self, kaggle, log_in):
        log_in(kaggle.users["acme"])
        return kaggle.users["acme"]

    @pytest.fixture(params=["acme/new/keras/small", "acme/new/pyTorch/small"])
    def new_handle(self, request, kaggle, secret):
        return PresetHandle("kaggle", request.param)
