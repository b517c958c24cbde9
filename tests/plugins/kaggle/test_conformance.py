"""What holds for every source that downloads, for this one: the real client and Kaggle on the loopback interface."""

import pytest

from servers import faults
from vertebra import PresetHandle
from vertebra.testing import RemoteSourceSuite
from vertebra_kaggle.source import KaggleSource

VARIATION = "acme/bert/keras/small"


class KaggleFaults:
    def __init__(self, kaggle):
        self.kaggle = kaggle

    def cut(self, name, times):
        self.kaggle.faults = [faults.cut(0.5, files=name, times=times)]

    def flip(self, name):
        self.kaggle.faults = [faults.flip_bit(30_000, files=name)]

    def heal(self):
        self.kaggle.faults = []


class TestKaggle(RemoteSourceSuite):
    client = "kagglehub"

    @pytest.fixture
    def source(self):
        return KaggleSource()

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

    @pytest.fixture
    def requests(self, kaggle):
        return lambda: len(kaggle.requests) + len(kaggle.storage.requests)

    @pytest.fixture
    def faults(self, kaggle):
        return KaggleFaults(kaggle)

    @pytest.fixture
    def redirect(self, kaggle):
        def redirect(location):
            ways = {"methods": ("GET", "POST")}
            kaggle.faults = [faults.redirect(location, paths="*", **ways), faults.redirect(location, **ways)]

        return redirect

    @pytest.fixture(params=["acme/new/keras/small", "acme/new/pyTorch/small"])
    def new_handle(self, request, kaggle, secret):
        return PresetHandle("kaggle", request.param)
