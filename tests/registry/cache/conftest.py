"""What the tests of the cache share: the toy preset, fetched."""

import pytest

from vertebra import PresetHandle
from vertebra._cache.transfer.fetch import fetch_files

PINNED = PresetHandle("toy", "bert", "r1")


@pytest.fixture
def pinned():
    """The handle of the toy preset."""
    return PINNED


@pytest.fixture
def fetch(toy, cache, pinned):
    """Returns a function that fetches files of the toy preset, or all if none is named, and returns their paths."""

    def fetch_named(*names, store=cache, offline=False):
        files = toy.resolve_snapshot(pinned).files
        wanted = [file for file in files if not names or file.name in names]
        return fetch_files(store, toy, pinned, wanted, offline)

    return fetch_named


@pytest.fixture
def full(toy):
    """The cache after the toy preset was opened and fetched as a user does."""
    from vertebra._cache.default_store import default_store
    from vertebra._resolve.open import open_folder

    folder = open_folder("toy://bert")
    folder.fetch_all(sorted(folder.names))
    toy.asked.clear()
    return default_store()
