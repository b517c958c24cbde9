"""What the tests of several plugins share."""

import itertools

import pytest

from vertebra import PresetHandle
from vertebra._cache import cached_source
from vertebra._cache.transfer import download, retry
from vertebra._configuration.settings import settings
from vertebra.testing import opened
from vertebra.testing.sources import written


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of the test's own; small pieces, and no breaks between attempts."""
    monkeypatch.setattr(download, "RANGE", 10_000)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(cached_source, "_listed", {})
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    yield tmp_path / "cache"
    settings.cache_clear()


@pytest.fixture
def write(tmp_path):
    """Writes files into a new folder; returns their paths by name."""
    numbers = itertools.count()
    return lambda files: written(tmp_path / f"files-{next(numbers)}", files)


@pytest.fixture
def fetch(source):
    """Fetches a file of what a handle means now; returns its bytes."""

    def fetch(handle, name="model.safetensors"):
        return opened(source).fetch(opened(source).resolve(PresetHandle.parse(handle)), name).read_bytes()

    return fetch


@pytest.fixture
def read(source):
    """Downloads all files of what a handle means now; returns their bytes by name."""

    def read(handle):
        pinned = opened(source).resolve(handle)
        files = opened(source).files(pinned)
        paths = opened(source).fetch_all(pinned, files)
        return {file.name: path.read_bytes() for file, path in zip(files, paths, strict=True)}

    return read


@pytest.fixture(scope="session")
def perturbed():
    """Adds noise to all weights of a model, so that biases and scales matter, too; returns the model."""
    import numpy as np

    def perturbed(model):
        random = np.random.default_rng(0)
        for variable in model.weights:
            variable.assign(variable.numpy() + random.normal(size=variable.shape) * 0.2)
        return model

    return perturbed
