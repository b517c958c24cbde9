"""What the tests of several plugins share."""

import pytest

from vertebra._cache import cached_source
from vertebra._cache.transfer import download, retry
from vertebra._configuration.settings import settings


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
