"""What the tests of several plugins share."""

import pytest

from vertebra._cache import presets, retrying, transfer
from vertebra._settings import settings


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of the test's own; small pieces, and no breaks between attempts."""
    monkeypatch.setattr(transfer, "PIECE", 10_000)
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(presets, "_listed", {})
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    yield tmp_path / "cache"
    settings.cache_clear()
